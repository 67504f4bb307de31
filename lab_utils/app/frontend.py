"""The web page over a predictor, as Gradio's documentation would write it.

The parts first, then what happens when they are clicked. What a click does is in `events.py`; the
markup, scripts and style are files in `page/`; what a stranger may send is checked in `routes.py`.
"""

from functools import partial
from pathlib import Path

import gradio as gr

from lab_utils.app.events import Events
from lab_utils.app.limits import CACHE_CHECK_SECONDS, CACHE_SECONDS, MAX_CORRECTION, MAX_SESSIONS
from lab_utils.app.reading import show
from text_recognizer.places import SAMPLE_PAGES

PAGE = Path(__file__).with_name("page")
SAMPLES = {
    "Pencil": SAMPLE_PAGES / "show_font_014.jpg",
    "Dark photo": SAMPLE_PAGES / "show_font_005.jpg",
    "Squared paper": SAMPLE_PAGES / "show_font_007.jpg",
    "Fibre pen": SAMPLE_PAGES / "show_font_008.jpg",
}
TAKE_DRAWING = "() => [window.labDrawing ? window.labDrawing() : '']"
# Gradio learns a moment later what was typed; what is sent is what the user sees.
TAKE_TYPED = "source => [source, document.querySelector('#correction textarea')?.value ?? '']"
# The predictor gets the bytes that were sent: Gradio's own conversion (`preprocess`) would decode
# the picture and encode it again, without its orientation.
PRIVATE = {"api_visibility": "private", "preprocess": False}


def part(name: str) -> str:
    """Markup or a script from the folder `page/`."""
    return (PAGE / name).read_text("utf-8")


def make_page(events: Events) -> gr.Blocks:
    """The page and its API endpoints; `lab_utils.app.server` serves it with its limits."""
    age = (CACHE_CHECK_SECONDS, CACHE_SECONDS)
    with gr.Blocks(title="Handwriting reader", analytics_enabled=False, delete_cache=age) as page:
        gr.HTML(part("intro.html"), elem_id="intro")
        with gr.Row(elem_id="work"):
            with gr.Column(elem_id="given", min_width=300), gr.Tabs(elem_id="ways"):
                image, read, samples = picture_tab()
                document, read_document = pdf_tab()
                drawing, read_drawing = drawing_tab()
            with gr.Column(elem_id="result", min_width=300):
                result = gr.HTML(show(), js_on_load=part("reading.js"), elem_id="reading")
                feedback, source, correction, send, thanks = feedback_form()
        gr.HTML(part("about.html"), js_on_load=part("about.js"), elem_id="about")

        shown = [result, feedback, source, correction, thanks]
        reading = PRIVATE | {"outputs": shown, "show_progress_on": result}
        after = part("result.js")
        read.click(events.read, image, **reading).then(js=after)
        read_document.click(events.read, document, **reading).then(js=after)
        read_drawing.click(events.read, drawing, js=TAKE_DRAWING, **reading).then(js=after)
        for button, file in samples:
            button.keep_in_cache |= button.temp_files  # only uploads are deleted after an hour
            chosen = button.click(partial(str, file), None, image, **PRIVATE)
            chosen.then(events.read, image, **reading).then(js=after)
        send.click(events.keep_feedback, [source, correction], thanks, js=TAKE_TYPED, **PRIVATE)
        add_api(events)
    # `Admission` decides how many pages are read at once and wait; Gradio's queue lets all pass.
    page.queue(max_size=None, default_concurrency_limit=None)
    page.state_session_capacity = MAX_SESSIONS
    return page


def picture_tab() -> tuple[gr.Image, gr.Button, list[tuple[gr.Button, Path]]]:
    """The picture, the button that reads it, and the sample pages with their files."""
    with gr.Tab("Picture"):
        image = gr.Image(
            label="Picture of a page",
            type="filepath",
            sources=["upload", "webcam", "clipboard"],
            height=340,
            buttons=["fullscreen"],
            placeholder="# Choose a picture of a page\nor drop one here",
            # A page held up to a camera must not be mirrored.
            webcam_options=gr.WebcamOptions(
                mirror=False, constraints={"video": {"facingMode": {"ideal": "environment"}}}
            ),
            elem_id="image",
        )
        image.alt_text = "The picture to read"  # no argument in older Gradio
        read = gr.Button("Read the picture", variant="primary", elem_id="read")
        gr.HTML("<p>Or try one of these pages:</p>", elem_id="samples-label")
        with gr.Row(elem_id="samples"):
            samples = [(gr.Button(name, icon=file), file) for name, file in SAMPLES.items()]
    return image, read, samples


def pdf_tab() -> tuple[gr.File, gr.Button]:
    """The document, and the button that reads it."""
    with gr.Tab("PDF"):
        document = gr.File(
            label="PDF or TIFF: its pages are read one after another",
            file_types=[".pdf", ".tif", ".tiff"],
            elem_id="document",
        )
        return document, gr.Button("Read its pages", variant="primary", elem_id="read-document")


def drawing_tab() -> tuple[gr.Textbox, gr.Button]:
    """The drawing as a data URI, and the button that reads it."""
    with gr.Tab("Write by hand"):
        gr.HTML(html_template=part("drawing.html"), js_on_load=part("drawing.js"), elem_id="canvas")
        drawing = gr.Textbox(visible=False)
        return drawing, gr.Button("Read what I wrote", variant="primary", elem_id="read-drawing")


def feedback_form() -> tuple[gr.Accordion, gr.Textbox, gr.Textbox, gr.Button, gr.HTML]:
    """The form, the picture's path or data URI, the right text, the button, and the answer."""
    with gr.Accordion("Wrong? Tell us", open=False, visible=False, elem_id="feedback") as form:
        # No gr.State: for it, each open page holds a stream that keeps the server from ending.
        source = gr.Textbox(visible=False)
        correction = gr.Textbox(
            label="Correct the text, if you like",
            info="The picture, the text that was read and your text are kept together.",
            lines=4,
            max_lines=16,
            max_length=MAX_CORRECTION,
            elem_id="correction",
        )
        send = gr.Button("Send", elem_id="send-feedback")
        return form, source, correction, send, gr.HTML(elem_id="feedback-message")


def add_api(events: Events) -> None:
    """The endpoints for programs; the invisible parts describe the first one."""
    with gr.Group(visible=False):
        image = gr.Image(label="Image", type="filepath")
        # Gradio's own example is an address, which this app does not fetch.
        example = {"path": "page.png", "meta": {"_type": "gradio.FileData"}}
        image.example_payload = image.example_value = lambda: example
        text, button = gr.Textbox(label="Text"), gr.Button()
    button.click(events.predict, image, text, api_name="predict", preprocess=False)
    gr.api(events.predict_base64, api_name="predict_base64")
