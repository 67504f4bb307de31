"""Checks of notebook 05: a function behind a page, a request, its answer, events, blank pages.

Nothing outside this machine is asked: the page is launched on 127.0.0.1, and elsewhere a small
server there takes the app's place.
"""

import base64
import io
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

from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_raises,
    expect_type,
    fail,
    saying,
    short,
)
from lab_utils.lessons.stand_in import StandIn, http_answer
from text_recognizer.errors import ImageError, RecognizerError
from text_recognizer.paragraph_text_recognizer import Line, PageReading

if TYPE_CHECKING:
    import gradio as gr

go_on = partial(checking.go_on, "gradio_app")

PATH = "page.png"


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
    """Text and summary, one reading a call, and of all errors only the user's are told."""
    pages = [
        ({"Dear all,": 0.98, "it rains.": 0.31, "Yours": 0.50}, "3 lines, 1 doubtful"),
        ({"Dear all,": 0.98, "it rains.": 0.91}, "2 lines, 0 doubtful"),
        ({"Hello": 0.42}, "1 line, 1 doubtful"),
        ({}, "no writing found"),
    ]
    for lines, wanted in pages:
        _expect_summary(function, lines, wanted)
    strict = attempt(function, PATH, _OnePage({"Dear all,": 0.98, "it rains.": 0.91}), 0.99)[1]
    expect(
        strict == "2 lines, 2 doubtful",
        f"with doubtful=0.99 and confidences of 0.98 and 0.91, the summary is {strict!r}: compare "
        "with the argument.",
    )
    nothing = _told(function, None, _OnePage({}), "no image was chosen (path is None)")
    sentence = "The image is damaged or cut off; save or copy it once more."
    damaged = _OnePage({}, ImageError(sentence))
    told = _told(function, PATH, damaged, "the predictor raises a RecognizerError")
    expect(
        told.message == sentence,
        f"the predictor said {sentence!r}, and the gr.Error says {told.message!r}: hand over the "
        "sentence as it is.",
    )
    expect(
        told.print_exception is nothing.print_exception is False,
        "a user's bad image would fill the server's log with a traceback: give gr.Error "
        "print_exception=False.",
    )
    bug = KeyError("/srv/models/secret.pt")
    when = f"where the predictor has a bug, {bug!r}"
    why = "catch only RecognizerError, since users must not see what a bug says"
    expect_raises(function, KeyError, PATH, _OnePage({}, bug), when=when, why=why)
    return "text and summary come back, and users are told what they can fix."


def _expect_summary(function: Answer, lines: dict[str, float], wanted: str) -> None:
    predictor = _OnePage(lines)
    result = expect_type(attempt(function, PATH, predictor), tuple, "read_page")
    expect(len(result) == 2, f"read_page returned {len(result)} values, not text and summary.")
    text, summary = result
    expect(
        text == "\n".join(lines),
        f"of a page with the lines {list(lines)} the text is {text!r}: the reading has it ready, "
        "with its lines joined by newlines.",
    )
    expect(
        predictor.asked == [PATH],
        f"the predictor was asked for {predictor.asked}, not once for {PATH!r}: a reading has both "
        "the text and the lines.",
    )
    advice = {0: "A page without lines is said to be so.", 1: "One line is a line."}
    expect(
        summary == wanted,
        f"with confidences of {list(lines.values())}, the summary is {summary!r}, not {wanted!r}. "
        + advice.get(len(lines), "A line is doubtful if its confidence is below `doubtful`."),
    )


def _told(function: Answer, path: str | None, predictor: _OnePage, when: str) -> Any:
    """The gr.Error with which the function stops."""
    import gradio as gr

    try:
        done = f"returned {function(path, predictor)!r}"
    except gr.Error as error:
        expect(bool(error.message.strip()), f"where {when}, the gr.Error has no sentence.")
        return error
    except Exception as error:
        done = f"stopped with {type(error).__name__}, which the page shows as the word Error"
    fail(f"where {when}, read_page {done}: raise gr.Error with a sentence.")


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
            page = attempt(function, read)
            expect_type(page, gr.Blocks, "build_page")
            expect(not page.is_running, "build_page launched the page: only build it.")
            _expect_button(page)
            try:
                _expect_page(page, asked)
            finally:
                page.close(verbose=False)
    return "the page is up, and its endpoint answers."


def _expect_button(page: "gr.Blocks") -> None:
    config = page.get_config_file()
    buttons = [one["id"] for one in config["components"] if one["type"] == "button"]
    found = [one for one in config["dependencies"] if one["api_name"] == "read_page"]
    expect(
        bool(found),
        "the page has no endpoint named read_page: give the button's click that api_name.",
    )
    clicked = {number for number, event in found[0]["targets"] if event == "click"}
    expect(
        not clicked.isdisjoint(buttons),
        "no button of the page calls the endpoint: use the click of a gr.Button.",
    )
    kinds = {one["id"]: one["type"] for one in config["components"]}
    for side, wanted in (("inputs", ["image"]), ("outputs", ["textbox", "textbox"])):
        given = [kinds[number] for number in found[0][side]]
        expect(
            given == wanted,
            f"the click's {side} are {given}, and should be {wanted}: one component each.",
        )


def _expect_page(page: "gr.Blocks", asked: list[Any]) -> None:
    """Calls the endpoint of a page with a picture, and without one."""
    from lab_utils.net import http_client

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
        "hand `read` itself to the click.",
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
            file = io.BytesIO()
            picture.save(file, kind, **options)
            yield f"image/{kind}", file.getvalue()
        # A camera's JPEG starts with another segment than JFIF's, which has 18 bytes.
        file = io.BytesIO()
        picture.save(file, "jpeg")
        yield "image/jpeg", file.getvalue()[:2] + file.getvalue()[20:]


def _bmp() -> bytes:
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "bmp")
    return file.getvalue()


@check
def predict_body(function: Answer) -> str:
    """The body for each type of image, found in its bytes; what is not an image is refused."""
    for kind, image in _pictures():
        start = image[:12]
        with saying(f"for an image that starts with {start!r}"):
            body = expect_type(attempt(function, image), dict, "predict_body")
        uri = _uri_of(body)
        header, comma, text = uri.partition(",")
        expect(
            bool(comma) and header.startswith("data:") and header.endswith(";base64"),
            f"the url starts with {uri[:30]!r}: a data URI is data:, the type, ;base64, a "
            "comma, and the base64 text.",
        )
        named = header.removeprefix("data:").removesuffix(";base64")
        said = f"an image that starts with {start!r} was called {named}"
        expect(named == kind, f"{said}, not {kind}.")
        _expect_base64(text, image)
    sound = b"RIFF\x24\0\0\0WAVEfmt "
    texts = (b"", b"Dear all, it rains.", b"%PDF-1.7 ", b"Dear allWEBP")
    for nothing in (*texts, sound, _bmp()):
        expect_raises(
            function,
            RecognizerError,
            nothing,
            when=f"where the bytes are {nothing[:20]!r}, which are not one of the four types",
        )
    return "the request holds the image and its type."


def _uri_of(body: dict) -> str:
    data = body.get("data")
    expect(
        isinstance(data, list) and len(data) == 1,
        f'the body\'s "data" is {short(data)}: it is a list with one value for each input, '
        "and there is one.",
    )
    (value,) = data
    expect(
        isinstance(value, dict) and isinstance(value.get("url"), str),
        f"the image is {short(value)}: Gradio takes an object whose key url holds a str, and "
        "refuses a bare string and bytes.",
    )
    return value["url"]


def _expect_base64(text: str, image: bytes) -> None:
    for wrong, sentence in (
        (text.startswith("b'"), "starts with b', as bytes are printed: decode them to a str."),
        (
            any(c.isspace() for c in text),
            "has line breaks: they are for e-mail (encodebytes), not for a URI.",
        ),
        (
            "-" in text or "_" in text,
            "has - or _ in it, the alphabet for addresses: a data URI has + and /.",
        ),
    ):
        expect(not wrong, f"the base64 text {sentence}")
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    expect(
        decoded == image,
        f"decoded again, the part behind the comma, {text[:12]!r} ..., is not the image with its "
        f"{len(image)} bytes: does it end with the = that make its length a multiple of 4?",
    )


def _refusal(function: Answer, *arguments: Any, when: str) -> str:
    """The message with which the function raises RecognizerError; fails if it doesn't."""
    why = "callers wait for this one kind of error"
    error = expect_raises(function, RecognizerError, *arguments, when=f"where {when}", why=why)
    message = str(error).strip()
    expect(bool(message), f"where {when}, the RecognizerError has no sentence.")
    return message


BODY = {"data": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}
TEXT = 'Dear "all",\nit rains.'
DAMAGED = "The image is damaged or cut off; save or copy it once more."
GATEWAY = b"<html><h1>502 Bad Gateway</h1></html>"


ROUTE = "gradio_api/run/predict"


def _json_answer(status: int, document: Any, **options: Any) -> StandIn:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return StandIn(http_answer(f"{status} X", body, kind="application/json", **options))


@check
def ask(function: Answer) -> str:
    """A text comes out of a right answer, and of all others a RecognizerError."""
    app = _json_answer(200, {"data": [TEXT], "duration": 0.2})
    with app.serving() as url:
        text = attempt(function, url + ROUTE, json.loads(json.dumps(BODY)))
    _expect_request(app)
    text = expect_type(text, str, "ask")
    expect(text == TEXT, f"the answer's text is {TEXT!r}, and ask returned {text!r}.")
    with _json_answer(200, {"data": [""]}).serving() as url:
        text = attempt(function, url + ROUTE, dict(BODY))
    expect(text == "", f"the text of a blank page is '', and ask returned {text!r}.")
    message = _refused(function, 500, {"error": DAMAGED, "title": "Error"})
    expect(
        message == DAMAGED,
        f'the answer\'s "error" says {DAMAGED!r}, and ask says {message!r}: hand over the '
        "sentence as it is.",
    )
    details = {"detail": [{"msg": "Field required"}]}
    for status, document in (
        *((500, {"error": None}), (422, details), (502, GATEWAY), (403, [1])),
        (400, {"data": [TEXT]}),
    ):
        message = _refused(function, status, document)
        shown = document.decode() if isinstance(document, bytes) else json.dumps(document)
        expect(
            str(status) in message and "None" not in message,
            f"where the status is {status} and the answer {shown}, ask says "
            f"{message!r}: there is no sentence in it, so name the status.",
        )
    for document in (b"<html>Please log in</html>", {"data": []}, ["text"]):
        _refused(function, 200, document)
    _expect_patience(function)
    _expect_broken(function)
    return "a text comes back, or one sentence that says why not."


def _refused(function: Answer, status: int, document: Any) -> str:
    shown = document.decode() if isinstance(document, bytes) else json.dumps(document)
    with _json_answer(status, document).serving() as url:
        when = f"the status is {status} and the answer {shown}"
        return _refusal(function, url + ROUTE, dict(BODY), when=when)


def _expect_broken(function: Answer) -> None:
    """Answers that are not HTTP, or stop in the middle, are refused as well."""
    cut = json.dumps({"data": [TEXT]}).encode()[:-9]
    _refused(function, 200, {"data": [None]})
    for when, app in {
        "the answer is an SSH server's greeting, not HTTP": StandIn(b"SSH-2.0-OpenSSH\r\n"),
        "the connection ends before an answer comes": StandIn(b""),
        "the answer breaks off in the middle": _json_answer(200, cut, length=len(cut) + 9),
        "an answer with status 500 breaks off": _json_answer(500, cut, length=len(cut) + 9),
    }.items():
        with app.serving() as url:
            _refusal(function, url + ROUTE, dict(BODY), when=when)


def _expect_request(app: StandIn) -> None:
    expect(bool(app.asked), "ask returned without asking the server at `url`.")
    asked = app.asked[0]
    expect(len(app.asked) == 1, f"the server was asked {len(app.asked)} times, not once.")
    expect(
        asked.method == "POST",
        f"the server was asked with {asked.method}: a body is sent with the method POST.",
    )
    expect(
        asked.path == f"/{ROUTE}",
        f"the server was asked for {asked.path!r}: use the address as it was given.",
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
        fail(f"the request's body is not JSON: it starts with {asked.body[:30]!r}: see json.dumps.")
    expect(sent == BODY, f"the request's body holds {short(sent)}, not what ask was given.")


def _expect_patience(function: Answer) -> None:
    """If no answer comes, the caller's time limit holds; without one, a late text comes back."""
    late = _json_answer(200, {"data": ["late"]})
    late.wait = 1.0
    with late.serving() as url:
        when = "no answer comes within timeout=0.1 s"
        _refusal(function, url + ROUTE, dict(BODY), 0.1, when=when)
    _refusal(function, url + ROUTE, dict(BODY), when="no server is there any more")


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
    complete = f"event: complete\ndata: {json.dumps([TEXT])}\n\n"
    half = 'event: generating\ndata: ["Dear"]\n\n'
    tricky = ["event: error\ndata: complete"]
    colon = "Split each line at the first colon only; texts have colons, too."
    ends = r"Take \r and \n off the end of each line; an empty line may be \r\n."
    others = "An event ends with an empty line, and lines of other names do not matter."
    for text, wanted, when, why in [
        (complete, [TEXT], "complete is the only event", ""),
        (HEARTBEAT * 2 + complete, [TEXT], "two heartbeats come before complete", ""),
        (half + complete, [TEXT], "a generating event with a part of the text comes first", ""),
        (complete.replace("\n", "\r\n"), [TEXT], r"lines end with \r\n, as they may", ends),
        ('event: complete\ndata: ["at: noon"]\n\n', ["at: noon"], "the text has a colon", colon),
        (
            f"event: complete\ndata: {json.dumps(tricky)}\n\n",
            tricky,
            "the text looks like events",
            colon,
        ),
        ('event: complete\ndata: ["Grüße"]\n\n', ["Grüße"], "the text is UTF-8", ""),
        ('event: complete\ndata: ["", 2]\n\n', ["", 2], "the text of the page is empty", ""),
        ("event: complete\ndata: []\n\n", [], "the list is empty", ""),
        ("\n" + complete, [TEXT], "an empty line comes first", ""),
        (
            complete.replace("\n", "\nid: 7\n", 1),
            [TEXT],
            "the line id: 7 is between event and data",
            others,
        ),
    ]:
        with saying(f"where {when}", f" ({why})" if why else ""):
            result = expect_type(attempt(function, _stream(text)), list, "final_data")
            expect(result == wanted, f"final_data returned {short(result)}, not {short(wanted)}.")
    try:
        function(_stream(HEARTBEAT + complete, endless=True))
    except _ReadTooFar:
        fail(
            "final_data went on reading behind the event complete, where it may wait for ever: "
            "return as soon as that event is whole, and don't make a list of the stream first.",
        )
    _expect_failed_calls(function)
    for text in ("", HEARTBEAT, half, complete[: len(complete) // 2], complete[:-1]):
        when = f"the stream breaks off, here behind {text[-24:]!r} (an empty line ends an event)"
        _refusal(function, _stream(text), when=when)
    _refusal(function, _stream("event: error\n\n"), when="an error comes without data")
    return "of all events, the last one counts, and a stream that breaks off is noticed."


def _expect_failed_calls(function: Answer) -> None:
    """The event error is raised with its sentence, or with another one if it has none."""
    error = f"event: error\nid: 7\ndata: {json.dumps({'error': DAMAGED, 'title': 'Error'})}\n\n"
    for text, when in ((error, "an error comes"), (HEARTBEAT + error, "an error comes late")):
        message = _refusal(function, _stream(text), when=when)
        expect(
            message == DAMAGED,
            f"where {when}, its data says {DAMAGED!r}, and final_data says {message!r}: hand over "
            "the sentence as it is.",
        )
    for data in ('{"error": null}', "null", "[]"):
        when = f"an error comes with the data {data}"
        message = _refusal(function, _stream(f"event: error\nid: 7\ndata: {data}\n\n"), when=when)
        expect(
            "None" not in message and "null" not in message,
            f"where {when}, final_data says {message!r}: find a sentence of your own.",
        )


@check
def is_blank(function: Answer) -> str:
    """Faint and little writing is written; light, shadow and grain are not."""
    for name, page in pages_with_writing().items():
        expect(
            not _judged(function, page),
            f"{name} was called blank: a real page would be refused. Ink differs from the "
            "paper right around it, and there may be little of it.",
        )
    for name, page in blank_pages().items():
        expect(
            _judged(function, page),
            f"{name} was not called blank: its gray levels go from {page.getextrema()[0]} to "
            f"{page.getextrema()[1]}, but near any pixel they differ by no more than its grain.",
        )
    return "blank pages are told from faint writing."


def _judged(function: Answer, page: Image.Image) -> bool:
    before = page.tobytes()
    result = expect_type(attempt(function, page), bool, "is_blank")
    expect(page.tobytes() == before, "is_blank changed the page that it was given.")
    return result


HEIGHT, WIDTH = 360, 480
PAGE_TEXT = "Dear all,\nit rains since Monday, and\nnobody has seen the cat.\nYours, Anna"


def _photo(name: str, levels: float, ink: float, grain: float, shadow: bool = False) -> Image.Image:
    """A photo of paper of some gray level, with writing that differs by `ink` gray levels."""
    generator = np.random.default_rng(len(name))
    size, text = 28, PAGE_TEXT
    if "one word" in name:
        size, text = 30, "Hello"
    elif "dots" in name:  # next to nothing around them gets lighter or darker
        size, text = 40, "\n".join([".     .     ."] * 4)
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(mask).multiline_text((30, 40), text, fill=255, font=font, spacing=size // 2)
    slope = 110 / (1 + np.exp((np.arange(WIDTH) - 200) / 60)) if shadow else 0
    page = levels - slope + ink * (np.asarray(mask) / 255)
    page = page + grain * generator.standard_normal((HEIGHT, WIDTH))
    return Image.fromarray(page.round().clip(0, 255).astype(np.uint8))


def _photos(kinds: dict[str, tuple]) -> dict[str, Image.Image]:
    return {name: _photo(name, *kind) for name, kind in kinds.items()}


def blank_pages() -> dict[str, Image.Image]:
    """Photos of empty paper, each with its name: light, grain and shadow differ."""
    return _photos(
        {
            "white paper": (255, 0, 0),
            "gray paper": (150, 0, 1.5),
            "paper in a photo with much grain": (200, 0, 6),
            "paper half in a shadow": (220, 0, 2, True),
            "the inside of a bag": (12, 0, 3),
        }
    )


def pages_with_writing() -> dict[str, Image.Image]:
    """The same with writing, some of it faint, little, or light on dark."""
    return _photos(
        {
            "a page in blue ink": (230, -150, 2),
            "a page in faint pencil": (215, -26, 1.5),
            "a faint page half in a shadow": (220, -30, 2, True),
            "a page with one word on it": (235, -140, 2),
            "a board with chalk on it": (40, 120, 2),
            "a board with twelve dots of chalk": (40, 120, 1),
        }
    )
