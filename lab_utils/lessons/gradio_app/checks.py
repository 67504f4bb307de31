"""Checks of notebook 05: a function behind a page, a request, its answer, events, blank pages.

Nothing outside this machine is asked: the page is launched on 127.0.0.1, and elsewhere a small
server there takes the app's place.
"""

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lab_utils.figures import saved
from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_raises,
    expect_result,
    expect_type,
    fail,
    saying,
    short,
)
from lab_utils.lessons.stand_in import StandIn, http_answer
from lab_utils.net import http_client
from text_recognizer.errors import ImageError, RecognizerError
from text_recognizer.paragraph_text_recognizer import Line, PageReading

if TYPE_CHECKING:
    import gradio as gr

go_on = partial(checking.go_on, "gradio_app")

PATH = "page.png"
DAMAGED = "The image is damaged or cut off; save or copy it once more."


class _OnePage:
    """A predictor that reads the same on every page, or stops with the same error."""

    def __init__(self, lines: dict[str, float], error: Exception | None = None) -> None:
        self.asked: list[Any] = []
        self._lines, self._error = lines, error

    def read(self, image: Any) -> PageReading:
        self.asked.append(image)
        if self._error:
            raise self._error
        place = ([(0.0, 0.0), (9.0, 0.0)], 9.0, (0.0, 0.0, 9.0, 9.0))
        lines = [Line(text, confidence, *place) for text, confidence in self._lines.items()]
        return PageReading("\n".join(self._lines), lines, 0.1, 640, 480)

    def predict(self, image: Any) -> str:
        return self.read(image).text


@check
def read_page(function: Answer) -> str:
    """Text and summary, one reading a call, and only errors for the user are shown."""
    import gradio as gr

    below = "the reading has its text ready, and a line is doubtful below `doubtful`"
    for summary, why, lines, *doubtful in (
        ("3 lines, 1 doubtful", below, {"Dear all,": 0.98, "it rains.": 0.31, "Yours": 0.50}),
        ("2 lines, 0 doubtful", below, {"Dear all,": 0.98, "it rains.": 0.91}),
        ("1 line, 1 doubtful", "one is a line, not lines", {"Hello": 0.42}),
        ("no writing found", "say so if a page has no lines", {}),
        ("2 lines, 2 doubtful", "compare with the argument", {"Dear": 0.98, "all": 0.91}, 0.99),
    ):
        predictor, given = _OnePage(lines), f"with confidences of {list(lines.values())}"
        given += f" and doubtful={doubtful[0]}" if doubtful else ""
        wanted = ("\n".join(lines), summary)
        expect_result(function, (PATH, predictor, *doubtful), wanted, why, given)
        expect(
            predictor.asked == [PATH],
            f"the predictor was asked for {predictor.asked}, not once for {PATH!r}: a reading has "
            "both the text and the lines.",
        )
    why = "raise gr.Error with a sentence; any other error is shown as the word Error"
    silent = gr.Error().message
    for path, predictor, when in (
        (None, _OnePage({}), "if no image was chosen (path is None)"),
        (
            PATH,
            _OnePage({}, ImageError(DAMAGED)),
            f"if the predictor raises ImageError {DAMAGED!r}",
        ),
    ):
        told = expect_raises(function, gr.Error, path, predictor, when=when, why=why)
        right = told.message == DAMAGED if path else told.message.strip() not in ("", silent)
        how = "pass the sentence on unchanged" if path else "say what the user can do"
        expect(right, f"{when}, the gr.Error says {told.message!r}: {how}.")
        expect(
            told.print_exception is False,
            "a user's bad image would fill the server's log with a traceback: give gr.Error "
            "print_exception=False.",
        )
    bug = KeyError("/srv/models/secret.pt")
    when = f"if the predictor has a bug, {bug!r}"
    why = "catch only RecognizerError, since users must not see what a bug says"
    expect_raises(function, KeyError, PATH, _OnePage({}, bug), when=when, why=why)
    return "text and summary come back, and users see what they can fix."


@check
def build_page(function: Answer) -> str:
    """The page is launched, and its endpoint called as a program calls it."""
    function.uses_a_tool()
    import gradio as gr

    asked: list[Any] = []

    def read(path: str | None) -> tuple[str, str]:
        asked.append(path)
        if path is None:
            raise gr.Error("Choose an image first.", print_exception=False)
        return f"{Path(path).stat().st_size} bytes of {type(path).__name__}", "a summary"

    with tempfile.TemporaryDirectory() as folder:
        settings = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        with mock.patch.dict(os.environ, settings):
            page = expect_type(attempt(function, read), gr.Blocks, "build_page")
            expect(not page.is_running, "build_page launched the page: only build it.")
            _expect_button(page)
            try:
                _expect_page(page, asked)
            finally:
                page.close(verbose=False)
    return "the page is up, and its endpoint answers."


def _expect_button(page: "gr.Blocks") -> None:
    config = page.get_config_file()
    kinds = {one["id"]: one["type"] for one in config["components"]}
    found = [one for one in config["dependencies"] if one["api_name"] == "read_page"]
    expect(
        bool(found),
        "the page has no endpoint named read_page: give the button's click that api_name.",
    )
    clicked = [kinds.get(number) for number, event in found[0]["targets"] if event == "click"]
    expect(
        "button" in clicked,
        "no button of the page calls the endpoint: use the click of a gr.Button.",
    )
    for side, wanted in (("inputs", ["image"]), ("outputs", ["textbox", "textbox"])):
        numbers = found[0][side]
        given = [kinds.get(number, "none of the page's") for number in numbers]
        expect(
            given == wanted and len(set(numbers)) == len(numbers),
            f"the click's {side} are {given}, and should be {wanted}: one component each, made "
            "inside the page's with block.",
        )


def _expect_page(page: "gr.Blocks", asked: list[Any]) -> None:
    """Calls the endpoint of a page with a picture, and without one."""
    _, image = next(_pictures())
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    _, address, _ = page.launch(
        share=False, prevent_thread_lock=True, quiet=True, inline=False, server_name="127.0.0.1"
    )
    with http_client(20) as client:
        route = f"{address}gradio_api/run/read_page"
        answer = client.post(route, json={"data": [{"url": url}]})
        refusal = client.post(route, json={"data": [None]})
    expect(
        bool(asked) and isinstance(asked[0], str),
        f"read was called with {short(asked[0] if asked else asked)}, not with the path of a file: "
        "look at the argument `type` of gr.Image.",
    )
    data = answer.json().get("data") if answer.is_success else None
    expect(
        data is not None and data[0].endswith("bytes of str") and data[1] == "a summary",
        f"read returned a text and a summary, and the endpoint answered {answer.text[:120]!r}: "
        "name the text's box first and the summary's second.",
    )
    expect(
        len(asked) == 2 and asked[1] is None and "Choose an image first." in refusal.text,
        "without an image, read should be called with None and its gr.Error should reach the user: "
        "pass `read` itself to the click.",
    )


def _pictures() -> Iterator[tuple[str, bytes]]:
    """Real images with the types that they have, of lengths that need each kind of padding."""
    noise = np.random.default_rng(8)
    for width in range(5, 14):
        picture = Image.fromarray(noise.integers(0, 256, (9, width), dtype=np.uint8))
        for kind, options in (
            ("png", {}),
            ("jpeg", {}),
            ("jpeg", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
            ("gif", {}),
            ("gif", {"comment": b"second version of GIF"}),
            ("webp", {"lossless": True}),
            ("webp", {"quality": 60}),
        ):
            yield f"image/{kind}", saved(picture, kind, **options)
        # A camera's JPEG starts with another segment than JFIF's, which has 18 bytes.
        data = saved(picture, "jpeg")
        yield "image/jpeg", data[:2] + data[20:]


@check
def predict_body(function: Answer) -> str:
    """The body for each type of image, found in its bytes; what is not an image is refused."""
    for kind, image in _pictures():
        with saying(f"for {kind} that starts with {image[:12]!r}"):
            body = expect_type(attempt(function, image), dict, "predict_body")
            match body.get("data"):
                case [{"url": str(found)}]:
                    wanted = f"data:{kind};base64,{base64.b64encode(image).decode()}"
                    expect(
                        found == wanted,
                        f"the url is {short(found)}, not {short(wanted)}: it is data:, the type, "
                        ";base64, a comma, and base64 as one str: no b'', no line breaks, + and / "
                        "instead of - and _, and with any = at its end.",
                    )
                case data:
                    fail(
                        f'"data" is {short(data)}: it is a list with one value, an object whose '
                        "key url holds a str. (Gradio refuses a bare string, and bytes.)"
                    )
    sound, bitmap = b"RIFF\x24\0\0\0WAVEfmt ", saved(Image.new("L", (9, 9)), "bmp")
    for nothing in (b"", b"Dear all, it rains.", b"%PDF-1.7 ", b"Dear allWEBP", sound, bitmap):
        when = f"if the bytes are {nothing[:20]!r}, which are not one of the four types"
        _refusal(function, nothing, when=when)
    return "the request holds the image and its type."


def _refusal(function: Answer, *arguments: Any, when: str) -> str:
    """The message with which the function raises RecognizerError; fails if it doesn't."""
    why = "callers catch only this kind of error"
    error = expect_raises(function, RecognizerError, *arguments, when=when, why=why)
    message = str(error).strip()
    expect(bool(message), f"{when}, the RecognizerError has no sentence.")
    return message


BODY = {"data": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}
TEXT = 'Dear "all",\nit rains in Zürich.'
ROUTE = "gradio_api/run/predict"


def _json_answer(status: int, document: Any, **options: Any) -> StandIn:
    if not isinstance(document, bytes):
        document = json.dumps(document, ensure_ascii=False).encode()
    return StandIn(http_answer(f"{status} X", body=document, kind="application/json", **options))


@check
def ask(function: Answer) -> str:
    """A text comes out of a right answer, and of all others a RecognizerError."""
    app = _json_answer(200, {"data": [TEXT], "duration": 0.2})
    with app.serving() as url:
        attempt(function, url + ROUTE, BODY)
        _expect_request(app)
        expect_result(function, (url + ROUTE, BODY), TEXT, "return the text", "for a page")
    with _json_answer(200, {"data": [""]}).serving() as url:
        expect_result(function, (url + ROUTE, BODY), "", "that is its text", "for a blank page")
    message = _refused(function, 500, {"error": DAMAGED, "title": "Error"})
    expect(
        message == DAMAGED,
        f'the answer\'s "error" says {DAMAGED!r}, and ask says {message!r}: pass the '
        "sentence on unchanged.",
    )
    for status, document in (
        (500, {"error": None}),
        (422, {"detail": [{"msg": "Field required"}]}),
        (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        (403, [1]),
        (400, {"data": [TEXT]}),
    ):
        message = _refused(function, status, document)
        expect(
            str(status) in message and "None" not in message,
            f"if the status is {status} and the answer {document!r}, ask says {message!r}: there "
            "is no sentence in the answer, so name the status.",
        )
    for document in (
        b"<html>Please log in</html>",
        ["text"],
        {"data": []},
        {"data": [None]},
        {"data": [7]},
        {"data": [{"url": "page.png"}]},
    ):
        _refused(function, 200, document)
    late, cut = _json_answer(200, {"data": ["late"]}), json.dumps({"data": [TEXT]}).encode()[:-9]
    late.wait = 1.0
    for when, app, *timeout in (
        ("if no answer comes within timeout=0.1 s", late, 0.1),
        ("if an SSH server greets, not HTTP", StandIn(b"SSH-2.0-OpenSSH\r\n")),
        ("if the connection ends before an answer comes", StandIn(b"")),
        ("if the answer breaks off", _json_answer(200, cut, length=len(cut) + 9)),
        ("if an answer with status 500 breaks off", _json_answer(500, cut, length=len(cut) + 9)),
    ):
        with app.serving() as url:
            _refusal(function, url + ROUTE, BODY, *timeout, when=when)
    _refusal(function, url + ROUTE, BODY, when="if the server is gone")
    return "a text comes back, or one sentence that says why not."


def _refused(function: Answer, status: int, document: Any) -> str:
    with _json_answer(status, document).serving() as url:
        when = f"if the status is {status} and the answer {short(document)}"
        return _refusal(function, url + ROUTE, BODY, when=when)


def _expect_request(app: StandIn) -> None:
    expect(len(app.asked) == 1, f"the server at `url` was asked {len(app.asked)} times, not once.")
    asked = app.asked[0]
    expect(
        (asked.method, asked.path) == ("POST", f"/{ROUTE}"),
        f"the server was asked with {asked.method} for {asked.path!r}: send the body with the "
        "method POST, to the address as it was given.",
    )
    kind = asked.headers.get("content-type", "none")
    expect(
        kind.split(";")[0].strip().lower() == "application/json",
        f"the request's Content-Type was {kind}: without application/json the app takes the body "
        "for a form.",
    )
    try:
        sent = json.loads(asked.body)
    except ValueError:
        sent = asked.body
    expect(
        sent == BODY,
        f"the request's body holds {short(sent)}, not the JSON of what ask was given: see "
        "json.dumps.",
    )


class _ReadTooFar(Exception):
    """The stream goes on for as long as the server likes."""


def _stream(text: str, endless: bool = False) -> Iterator[bytes]:
    """The lines of a stream, as a response gives them; nobody may read to an endless one's end."""
    yield from text.encode().splitlines(keepends=True)
    if endless:
        raise _ReadTooFar


HEARTBEAT = "event: heartbeat\ndata: null\n\n"


@check
def final_data(function: Answer) -> str:
    """The data of the event complete, wherever it comes; an error is raised; a cut is noticed."""
    half = 'event: generating\ndata: ["Dear"]\n\n'
    tricky = json.dumps(["event: error\ndata: complete"])

    def complete(data: str) -> str:
        return f"event: complete\ndata: {data}\n\n"

    whole = complete(json.dumps([TEXT]))
    colon = "split each line at the first colon only; texts have colons, too"
    ends = r"take \r and \n off the end of each line; an empty line may be \r\n"
    others = "an event ends with an empty line, and lines with other names do not matter"
    last = "return the data of the event complete, parsed as JSON"
    for when, text, wanted, why in (
        ("if complete is the only event", whole, [TEXT], last),
        ("if two heartbeats come first", HEARTBEAT * 2 + whole, [TEXT], last),
        ("if a generating event comes first", half + whole, [TEXT], last),
        (r"if lines end with \r\n, as they may", whole.replace("\n", "\r\n"), [TEXT], ends),
        ("if the text has a colon", complete('["at: noon"]'), ["at: noon"], colon),
        ("if the text looks like events", complete(tricky), json.loads(tricky), colon),
        ("if the text is UTF-8", complete('["Grüße"]'), ["Grüße"], last),
        ("if the text of the page is empty", complete('["", 2]'), ["", 2], last),
        ("if the list is empty", complete("[]"), [], last),
        ("if an empty line comes first", "\n" + whole, [TEXT], others),
        ("if the event has a line id: 7", whole.replace("\n", "\nid: 7\n", 1), [TEXT], others),
    ):
        expect_result(function, (_stream(text),), wanted, why, when)
    try:
        function(_stream(HEARTBEAT + whole, endless=True))
    except _ReadTooFar:
        fail(
            "final_data went on reading after the event complete, and may wait for ever there: "
            "return as soon as that event is whole, and don't make a list of the stream first.",
        )
    error = f"event: error\nid: 7\ndata: {json.dumps({'error': DAMAGED, 'title': 'Error'})}\n\n"
    for text in (error, HEARTBEAT + error):
        message = _refusal(function, _stream(text), when="if an error comes")
        expect(
            message == DAMAGED,
            f"the error's data says {DAMAGED!r}, and final_data says {message!r}: pass the "
            "sentence on unchanged.",
        )
    for data in ('{"error": null}', "null", "[]"):
        when = f"if an error comes with the data {data}"
        message = _refusal(function, _stream(f"event: error\nid: 7\ndata: {data}\n\n"), when=when)
        expect(
            "None" not in message and "null" not in message,
            f"{when}, final_data says {message!r}: use a sentence of your own.",
        )
    for text in ("", HEARTBEAT, half, whole[: len(whole) // 2], whole[:-1]):
        when = f"if the stream breaks off, here after {text[-24:]!r} (an empty line ends an event)"
        _refusal(function, _stream(text), when=when)
    _refusal(function, _stream("event: error\n\n"), when="if an error comes without data")
    return "it returns the data of the event complete, and notices a stream that breaks off."


HEIGHT, WIDTH = 360, 480
PAGE_TEXT = "Dear all,\nit rains since Monday, and\nnobody has seen the cat.\nYours, Anna"
DOTS = "\n".join([".     .     ."] * 4)  # next to nothing around them gets lighter or darker
BLANK = {
    "white paper": (255, 0, 0),
    "gray paper": (150, 0, 1.5),
    "paper in a photo with much grain": (200, 0, 6),
    "paper in a photo with very much grain": (200, 0, 9),
    "paper half in a shadow": (220, 0, 2, "", True),
    "paper half in a shadow, without grain": (220, 0, 0, "", True),
    "the inside of a bag": (12, 0, 3),
}
WRITTEN = {
    "a page in blue ink": (230, -150, 2, PAGE_TEXT),
    "a page in faint pencil": (215, -26, 1.5, PAGE_TEXT),
    "a faint page half in a shadow": (220, -30, 2, PAGE_TEXT, True),
    "a page with one word on it": (235, -140, 2, "Hello"),
    "a board with chalk on it": (40, 120, 2, PAGE_TEXT),
    "a board with twelve dots of chalk": (40, 120, 1, DOTS),
}
"""Photos of paper, empty and written: level of the paper, how far ink differs, grain, text, and
whether a shadow falls on it."""


@check
def is_blank(function: Answer) -> str:
    """Faint and little writing is written; light, shadow and grain are not."""
    for name, kind in (WRITTEN | BLANK).items():
        page = _photo(name, *kind)
        before, (darkest, lightest) = page.tobytes(), page.getextrema()
        why = f"its gray levels go from {darkest} to {lightest}; ink differs from the paper right "
        why += "around it by more than the grain, and there may be little of it"
        expect_result(function, (page,), name in BLANK, why, f"for {name}")
        expect(page.tobytes() == before, "is_blank changed the page that it was given.")
    return "blank pages are distinguished from faint writing."


def _photo(
    name: str, levels: float, ink: float, grain: float, text: str = "", shadow: bool = False
) -> Image.Image:
    """A photo of paper of some gray level, with writing that differs by `ink` gray levels."""
    generator = np.random.default_rng(len(name))
    size = {"Hello": 30, DOTS: 40}.get(text, 28)
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(mask).multiline_text((30, 40), text, fill=255, font=font, spacing=size // 2)
    slope = 110 / (1 + np.exp((np.arange(WIDTH) - 200) / 60)) if shadow else 0
    page = levels - slope + ink * (np.asarray(mask) / 255)
    page = page + grain * generator.standard_normal((HEIGHT, WIDTH))
    return Image.fromarray(page.round().clip(0, 255).astype(np.uint8))
