"""The parts of the page and where they stand; what they do is in `frontend.py`."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from lab_utils.app import names
from lab_utils.app.limits import MAX_CORRECTION
from text_recognizer.places import SAMPLE_PAGES

_PAGE = Path(__file__).with_name("page")

STYLE = _PAGE / "style.css"
SAMPLES = {
    "show_font_014.jpg": "Pencil",
    "show_font_005.jpg": "Dark photo",
    "show_font_007.jpg": "Squared paper",
    "show_font_008.jpg": "Fibre pen",
}
"""Sample pages to try, and how the page calls them."""

EMPTY_TEXT = (
    "<p class='empty'>The text appears here, line by line, and below it the page with the lines "
    "that were found. Lines to check are marked with a question mark.</p>"
)
TAKE_DRAWING = "() => [window.labDrawing ? window.labDrawing() : '']"
# Gradio learns of what is typed a moment later; what is sent is what is seen.
TAKE_CORRECTION = (
    f"key => [key, document.querySelector('#{names.CORRECTION} textarea')?.value ?? '']"
)


def part(name: str) -> str:
    """A part of the page: markup or script, from a file of its own."""
    return (_PAGE / name).read_text("utf-8")


@dataclass(frozen=True)
class Parts:
    """What the events take and give."""

    image: gr.Image
    read: gr.Button
    samples: dict[Path, gr.Button]
    drawing: gr.Textbox
    read_drawing: gr.Button
    text: gr.HTML
    message: gr.HTML
    found: gr.HTML
    feedback: gr.Accordion
    key: gr.State
    correction: gr.Textbox
    send: gr.Button
    feedback_message: gr.HTML


def endpoint_parts() -> tuple[gr.Image, gr.Textbox]:
    """Input and output of the endpoint; they name its parameters in the API's description."""
    image = gr.Image(label="Image", type="filepath")
    # Gradio's own example is an address, which this app would not fetch.
    example = {"path": "page.png", "meta": {"_type": "gradio.FileData"}}
    image.example_payload = image.example_value = lambda: example
    return image, gr.Textbox(label="Text")


def build(title: str) -> Parts:
    """Lays the page out, within a `gr.Blocks`."""
    key = gr.State()
    gr.HTML(part("intro.html").format(title=escape(title)), elem_id="intro")
    with gr.Row(elem_id="work"):
        with gr.Column(elem_id="given", min_width=300), gr.Tabs(elem_id=names.TABS):
            with gr.Tab("Picture"):
                image = _picture_input()
                read = gr.Button("Read the picture", variant="primary", elem_id=names.READ)
                samples = _samples()
            with gr.Tab("Write by hand"):
                gr.HTML(
                    html_template=part("drawing.html"),
                    js_on_load=part("drawing.js"),
                    elem_id=names.CANVAS,
                )
                drawing = gr.Textbox(visible=False)
                read_drawing = gr.Button(
                    "Read what I wrote", variant="primary", elem_id=names.READ_DRAWING
                )
        with gr.Column(elem_id="result", min_width=300):
            text = gr.HTML(
                EMPTY_TEXT,
                html_template=part("text.html"),
                js_on_load=part("text.js"),
                elem_id=names.TEXT,
            )
            message = gr.HTML(elem_id=names.MESSAGE)
            found = gr.HTML(elem_id=names.FOUND)
            with gr.Accordion(
                "Wrong? Tell us", open=False, visible=False, elem_id=names.FEEDBACK
            ) as feedback:
                correction = gr.Textbox(
                    label="Correct the text, if you like",
                    info="The picture, the text that was read and yours are kept together.",
                    lines=4,
                    max_lines=16,
                    max_length=MAX_CORRECTION,
                    elem_id=names.CORRECTION,
                )
                send = gr.Button("Send", elem_id=names.SEND_FEEDBACK)
                feedback_message = gr.HTML(elem_id=names.FEEDBACK_MESSAGE)
    gr.HTML(part("about.html"), js_on_load=part("about.js"), elem_id="about")
    return Parts(
        image=image,
        read=read,
        samples=samples,
        drawing=drawing,
        read_drawing=read_drawing,
        text=text,
        message=message,
        found=found,
        feedback=feedback,
        key=key,
        correction=correction,
        send=send,
        feedback_message=feedback_message,
    )


def _picture_input() -> gr.Image:
    image = gr.Image(
        label="Picture of a page",
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        height=340,
        buttons=["fullscreen"],
        placeholder="# Choose a picture of a page\nor drop one here",
        # A page that is held before a camera is not to be mirrored.
        webcam_options=gr.WebcamOptions(
            mirror=False, constraints={"video": {"facingMode": {"ideal": "environment"}}}
        ),
        elem_id=names.IMAGE,
    )
    image.alt_text = "The picture to read"  # no argument of older versions of Gradio
    return image


def _samples() -> dict[Path, gr.Button]:
    gr.HTML("<p>Or try one of these pages:</p>", elem_id="samples-label")
    with gr.Row(elem_id=names.SAMPLES):
        buttons = {
            SAMPLE_PAGES / file: gr.Button(label, icon=SAMPLE_PAGES / file)
            for file, label in SAMPLES.items()
        }
    for button in buttons.values():
        button.keep_in_cache |= button.temp_files  # uploads alone get old
    return buttons
