"""The web page over a predictor, as Gradio's documentation would write it.

The parts first, then what happens when they are clicked. What a click does is in `events.py`; the
markup, scripts and style are files in `page/`; what a stranger may send is checked in `routes.py`.
"""

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from lab_utils.app.events import EMPTY_TEXT, Events
from lab_utils.app.limits import CACHE_CHECK_SECONDS, CACHE_SECONDS, MAX_CORRECTION, MAX_SESSIONS
from text_recognizer.places import SAMPLE_PAGES

PAGE = Path(__file__).with_name("page")
STYLE = PAGE / "style.css"
SAMPLES = {
    "Pencil": SAMPLE_PAGES / "show_font_014.jpg",
    "Dark photo": SAMPLE_PAGES / "show_font_005.jpg",
    "Squared paper": SAMPLE_PAGES / "show_font_007.jpg",
    "Fibre pen": SAMPLE_PAGES / "show_font_008.jpg",
}
TAKE_DRAWING = "() => [window.labDrawing ? window.labDrawing() : '']"
# Gradio learns a moment later what was typed; what is sent is what the user sees.
TAKE_CORRECTION = "key => [key, document.querySelector('#correction textarea')?.value ?? '']"


def part(name: str) -> str:
    """Markup or a script from the folder `page/`."""
    return (PAGE / name).read_text("utf-8")


def make_page(events: Events, title: str) -> gr.Blocks:
    """The page and its two API endpoints; `lab_utils.app.server` serves it with its limits."""
    with gr.Blocks(
        title=title, analytics_enabled=False, delete_cache=(CACHE_CHECK_SECONDS, CACHE_SECONDS)
    ) as page:
        gr.HTML(part("intro.html").format(title=escape(title)), elem_id="intro")
        with gr.Row(elem_id="work"):
            with gr.Column(elem_id="given", min_width=300), gr.Tabs(elem_id="ways"):
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
                            mirror=False,
                            constraints={"video": {"facingMode": {"ideal": "environment"}}},
                        ),
                        elem_id="image",
                    )
                    image.alt_text = "The picture to read"  # no argument in older Gradio
                    read = gr.Button("Read the picture", variant="primary", elem_id="read")
                    gr.HTML("<p>Or try one of these pages:</p>", elem_id="samples-label")
                    with gr.Row(elem_id="samples"):
                        samples = [
                            (gr.Button(name, icon=file), file) for name, file in SAMPLES.items()
                        ]
                with gr.Tab("PDF"):
                    document = gr.File(
                        label="PDF or TIFF: its pages are read one after another",
                        file_types=[".pdf", ".tif", ".tiff"],
                        elem_id="document",
                    )
                    read_document = gr.Button(
                        "Read its pages", variant="primary", elem_id="read-document"
                    )
                with gr.Tab("Write by hand"):
                    gr.HTML(
                        html_template=part("drawing.html"),
                        js_on_load=part("drawing.js"),
                        elem_id="canvas",
                    )
                    drawing = gr.Textbox(visible=False)
                    read_drawing = gr.Button(
                        "Read what I wrote", variant="primary", elem_id="read-drawing"
                    )
            with gr.Column(elem_id="result", min_width=300):
                text = gr.HTML(
                    EMPTY_TEXT,
                    html_template=part("text.html"),
                    js_on_load=part("text.js"),
                    elem_id="text",
                )
                message = gr.HTML(elem_id="message")
                found = gr.HTML(elem_id="found")
                with gr.Accordion(
                    "Wrong? Tell us", open=False, visible=False, elem_id="feedback"
                ) as feedback:
                    key = gr.Textbox(visible=False)
                    correction = gr.Textbox(
                        label="Correct the text, if you like",
                        info="The picture, the text that was read and your text are kept together.",
                        lines=4,
                        max_lines=16,
                        max_length=MAX_CORRECTION,
                        elem_id="correction",
                    )
                    send = gr.Button("Send", elem_id="send-feedback")
                    thanks = gr.HTML(elem_id="feedback-message")
        gr.HTML(part("about.html"), js_on_load=part("about.js"), elem_id="about")
        with gr.Group(visible=False):  # the endpoint's input and output, for its description
            api_image = gr.Image(label="Image", type="filepath")
            # Gradio's own example is an address, which this app does not fetch.
            example = {"path": "page.png", "meta": {"_type": "gradio.FileData"}}
            api_image.example_payload = api_image.example_value = lambda: example
            api_text = gr.Textbox(label="Text")
            api_button = gr.Button()

        # The predictor gets the bytes that were sent: Gradio's own conversion (`preprocess`) would
        # decode the picture and encode it again, without its orientation.
        private = {"api_visibility": "private", "preprocess": False}
        shown = [text, message, found, feedback, key, correction, thanks]
        reading = private | {"outputs": shown, "show_progress_on": text}
        show = part("result.js")
        read.click(events.read, image, **reading).then(js=show)
        read_document.click(events.read, document, **reading).then(js=show)
        read_drawing.click(events.read_drawing, drawing, js=TAKE_DRAWING, **reading).then(js=show)
        for button, file in samples:
            button.keep_in_cache |= button.temp_files  # only uploads are deleted after an hour
            button.click(partial(str, file), None, image, **private).then(
                events.read, image, **reading
            ).then(js=show)
        send.click(events.keep_feedback, [key, correction], thanks, js=TAKE_CORRECTION, **private)
        api_button.click(events.predict, api_image, api_text, api_name="predict", preprocess=False)
        gr.api(events.predict_base64, api_name="predict_base64")
        gr.api(events.read_base64, api_name="read_base64")
    # `Admission` decides how many pages are read at once and wait; Gradio's queue lets all pass.
    page.queue(max_size=None, default_concurrency_limit=None)
    page.state_session_capacity = MAX_SESSIONS
    return page
