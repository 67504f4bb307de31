"""Checks of notebook 05: a function behind a page, a request, its answer, events, blank pages.

Nothing outside this machine is asked: a small server on 127.0.0.1 stands in for the app.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lab_utils.lessons.checking import attempt, expect, expect_type, fail, passed
from text_recognizer.errors import ImageError, RecognizerError
from text_recognizer.paragraph_text_recognizer import Line, PageReading

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


def read_page(function: Callable[..., tuple[str, str]]) -> None:
    """Text and summary, one reading a call, and of all errors only the user's are told."""
    pages = [
        ({"Dear all,": 0.98, "it rains.": 0.31, "Yours": 0.50}, "3 lines, 1 doubtful"),
        ({"Dear all,": 0.98, "it rains.": 0.91}, "2 lines, 0 doubtful"),
        ({"Hello": 0.42}, "1 line, 1 doubtful"),
        ({}, "no writing found"),
    ]
    for lines, wanted in pages:
        predictor = _OnePage(lines)
        result = attempt(function, PATH, predictor)
        expect_type(result, tuple, "read_page")
        expect(len(result) == 2, f"read_page returned {len(result)} values, not text and summary.")
        text, summary = result
        expect(
            text == "\n".join(lines),
            f"of a page with the lines {list(lines)} the text is {text!r}: the reading has it "
            "ready, with its lines joined by newlines.",
        )
        _expect_one_reading(predictor)
        expect(
            summary == wanted,
            f"with confidences of {list(lines.values())}, the summary is {summary!r}, not "
            f"{wanted!r}.{_advice(lines)}",
        )
    strict = attempt(function, PATH, _OnePage({"Dear all,": 0.98, "it rains.": 0.91}), 0.99)[1]
    expect(
        strict == "2 lines, 2 doubtful",
        f"with doubtful=0.99 and confidences of 0.98 and 0.91, the summary is {strict!r}: compare "
        "with the argument.",
    )
    _expect_told(function, None, _OnePage({}), "no image was chosen (path is None)")
    sentence = "The image is damaged or cut off; save or copy it once more."
    told = _expect_told(
        function, PATH, _OnePage({}, ImageError(sentence)), "the predictor raises a RecognizerError"
    )
    expect(
        told.message == sentence,
        f"the predictor said {sentence!r}, and the gr.Error says {told.message!r}: hand over the "
        "sentence as it is.",
    )
    expect(
        told.print_exception is False,
        "a user's bad image would fill the server's log with a traceback: give gr.Error "
        "print_exception=False.",
    )
    bug = KeyError("/srv/models/secret.pt")
    try:
        result = function(PATH, _OnePage({}, bug))
    except KeyError:
        passed(function, "text and summary come back, and users are told what they can mend.")
        return
    except Exception as error:
        told = f"{type(error).__name__}: {getattr(error, 'message', error)}"
        fail(
            f"the predictor has a bug, {bug!r}, and the user was told {told!r}: catch "
            "RecognizerError alone, since what a bug says is nobody's business.",
        )
    fail(f"the predictor has a bug, {bug!r}, and read_page returned {result!r} as if all was well.")


def _advice(lines: dict[str, float]) -> str:
    if not lines:
        return " A page without lines is said to be so."
    if len(lines) == 1:
        return " One line is a line."
    return " A line is doubtful if its confidence is below `doubtful`."


def _expect_one_reading(predictor: _OnePage) -> None:
    expect(
        predictor.asked == [PATH],
        f"the predictor was asked for {predictor.asked}, not once for {PATH!r}: a reading has both "
        "the text and the lines.",
    )


def _expect_told(function: Callable, path: str | None, predictor: _OnePage, when: str) -> Any:
    """The gr.Error with which the function stops."""
    import gradio as gr

    try:
        result = function(path, predictor)
    except gr.Error as error:
        expect(bool(error.message.strip()), f"where {when}, the gr.Error has no sentence.")
        return error
    except Exception as error:
        fail(
            f"where {when}, read_page stopped with {type(error).__name__}, which the page shows "
            "as the word Error: raise gr.Error with a sentence.",
        )
    fail(f"where {when}, read_page returned {result!r}: raise gr.Error with a sentence.")


SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
}
"""How the bytes of each type of image start."""


def predict_body(function: Callable[[bytes], dict]) -> None:
    """The body for each type of image, told by its bytes; what is no image is refused."""
    bytes_from = np.random.default_rng(8).bytes
    for kind, start in SIGNATURES.items():
        for length in (200, 201, 202):  # one for each length of the padding
            image = start + bytes_from(length - len(start))
            body = attempt(function, image)
            expect_type(body, dict, "predict_body")
            uri = _uri_of(body)
            header, comma, text = uri.partition(",")
            expect(
                bool(comma) and header.startswith("data:") and header.endswith(";base64"),
                f"the url starts with {uri[:30]!r}: a data URI is data:, the type, ;base64, a "
                "comma, and the base64 text.",
            )
            named = header.removeprefix("data:").removesuffix(";base64")
            expect(
                named == kind,
                f"an image that starts with {start!r} was called {named}, not {kind}.",
            )
            _expect_base64(text, image)
    for nothing in (b"", b"Dear all, it rains.", b"%PDF-1.7 ", b"RIFF\x24\0\0\0WAVEfmt "):
        _refusal(function, nothing, when=f"the bytes are {nothing!r}, which are no such image")
    passed(function, "the request holds the image and its type.")


def _uri_of(body: dict) -> str:
    data = body.get("data")
    expect(
        isinstance(data, list) and len(data) == 1,
        f'the body\'s "data" is {_short(data)}: it is a list with one value for each input, '
        "and there is one.",
    )
    (value,) = data
    expect(
        isinstance(value, dict) and "url" in value,
        f"the image is {_short(value)}: Gradio takes an object with the key url, and refuses a "
        "bare string.",
    )
    expect(
        isinstance(value["url"], str),
        f"the url is {_short(value['url'])}: JSON has no bytes, so decode them to a str.",
    )
    return value["url"]


def _expect_base64(text: str, image: bytes) -> None:
    expect(
        not text.startswith("b'"),
        "the base64 text starts with b', as bytes are printed: decode them to a str.",
    )
    expect(
        not any(c.isspace() for c in text),
        "the base64 text has line breaks: they are for e-mail (encodebytes), not for a URI.",
    )
    expect(
        "-" not in text and "_" not in text,
        "the base64 text has - or _ in it, the alphabet for addresses: a data URI has + and /.",
    )
    expect(
        len(text) % 4 == 0,
        f"the base64 text of {len(image)} bytes has {len(text)} characters: with the = at its end "
        "the number can be divided by 4.",
    )
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        fail(f"the part behind the comma is no base64 text: it starts with {text[:12]!r}.")
    expect(
        decoded == image,
        f"decoded again, the base64 text gives {len(decoded)} bytes that are not the image's "
        f"{len(image)}.",
    )


def _refusal(function: Callable, *arguments: Any, when: str) -> str:
    """The message with which the function raises RecognizerError; fails where it doesn't."""
    name = function.__name__
    try:
        result = function(*arguments)
    except RecognizerError as error:
        message = str(error).strip()
        expect(bool(message), f"where {when}, the RecognizerError has no sentence.")
        return message
    except Exception as error:
        fail(
            f"where {when}, {name} stopped with {type(error).__name__}: raise RecognizerError "
            "with a sentence, the one kind of error that callers wait for.",
        )
    fail(f"where {when}, {name} returned {_short(result)}: raise RecognizerError with a sentence.")


@dataclass
class _Answer:
    """What the server that stands in for the app says, and what it was asked."""

    status: int
    body: bytes
    kind: str = "application/json"
    wait: float = 0.0
    """Seconds until the answer comes, or until the server is closed."""
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    """Method, path, content type and body of each request."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Else closing waits for requests whose client has gone.
    block_on_close = False

    def __init__(self, answer: _Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.closing = answer, threading.Event()

    def server_bind(self) -> None:
        # HTTPServer's own would ask the network for this machine's name.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    def _say(self) -> None:
        answer = self.server.answer
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type") or "none"
        answer.asked.append((self.command, self.path, kind, body))
        self.server.closing.wait(answer.wait)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = _say

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a check prints its result alone."""


@contextmanager
def _stand_in(answer: _Answer) -> Iterator[str]:
    """The address of a server that gives this answer to whatever it is asked."""
    with _Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/gradio_api/run/predict"
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


BODY = {"data": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}
TEXT = 'Dear "all",\nit rains.'
DAMAGED = "The image is damaged or cut off; save or copy it once more."
GATEWAY = b"<html><h1>502 Bad Gateway</h1></html>"


def ask(function: Callable[[str, dict, float], str]) -> None:
    """A text comes out of a right answer, and of all others a RecognizerError."""
    answer = _Answer(200, _json({"data": [TEXT], "duration": 0.2}))
    with _stand_in(answer) as url:
        text = attempt(function, url, json.loads(json.dumps(BODY)))
    _expect_request(answer)
    expect_type(text, str, "ask")
    expect(text == TEXT, f"the answer's text is {TEXT!r}, and ask returned {text!r}.")
    error = _Answer(500, _json({"error": DAMAGED, "title": "Error"}))
    message = _refused(function, error, f"the status is 500 and the answer {_told(error)}")
    expect(
        message == DAMAGED,
        f'the answer\'s "error" says {DAMAGED!r}, and ask says {message!r}: hand over the '
        "sentence as it is.",
    )
    for status, body, kind in (
        (500, _json({"error": None}), "application/json"),
        (422, _json({"detail": [{"msg": "Field required"}]}), "application/json"),
        (502, GATEWAY, "text/html"),
    ):
        answer = _Answer(status, body, kind)
        message = _refused(
            function, answer, f"the status is {status} and the answer {_told(answer)}"
        )
        expect(
            str(status) in message and "None" not in message,
            f"where the status is {status} and the answer {_told(answer)}, ask says {message!r}: "
            "there is no sentence in it, so name the status.",
        )
    for body in (b"<html>Please log in</html>", _json({"data": []}), _json(["text"])):
        answer = _Answer(200, body)
        _refused(function, answer, f"the status is 200 and the answer {_told(answer)}")
    _expect_patience(function)
    with _stand_in(_Answer(200, b"")) as url:
        pass
    _refusal(function, url, dict(BODY), when="no server is there any more")
    passed(function, "a text comes back, or one sentence that says why not.")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _told(answer: _Answer) -> str:
    return answer.body.decode()


def _refused(function: Callable, answer: _Answer, when: str) -> str:
    with _stand_in(answer) as url:
        return _refusal(function, url, dict(BODY), when=when)


def _expect_request(answer: _Answer) -> None:
    expect(bool(answer.asked), "ask returned without asking the server at `url`.")
    method, path, kind, body = answer.asked[0]
    expect(len(answer.asked) == 1, f"the server was asked {len(answer.asked)} times, not once.")
    expect(
        method == "POST",
        f"the server was asked with {method}: a body is sent with the method POST.",
    )
    expect(
        path == "/gradio_api/run/predict",
        f"the server was asked for {path!r}: take the address as it was given.",
    )
    expect(
        kind.split(";")[0].strip().lower() == "application/json",
        f"the request's Content-Type was {kind}: without application/json the app takes the body "
        "for a form.",
    )
    try:
        sent = json.loads(body)
    except ValueError:
        fail(f"the request's body is no JSON: it starts with {body[:30]!r}. Look at json.dumps.")
    expect(sent == BODY, f"the request's body holds {_short(sent)}, not what ask was given.")


def _expect_patience(function: Callable) -> None:
    """Where no answer comes, the caller's time limit holds; without one, a late text comes back."""
    with _stand_in(_Answer(200, _json({"data": ["late"]}), wait=1.0)) as url:
        _refusal(function, url, dict(BODY), 0.1, when="no answer comes within timeout=0.1 s")


class _ReadTooFar(Exception):
    """The stream goes on for as long as the server likes."""


def _stream(text: str, endless: bool = False) -> Iterator[bytes]:
    """The lines of a stream, as a response gives them; nobody may read to an endless one's end."""
    yield from text.encode().splitlines(keepends=True)
    if endless:
        raise _ReadTooFar


HEARTBEAT = "event: heartbeat\ndata: null\n\n"


def final_data(function: Callable[[Iterable[bytes]], list]) -> None:
    """The data of the event complete, wherever it comes; an error is raised; a cut is noticed."""
    complete = f"event: complete\ndata: {json.dumps([TEXT])}\n\n"
    half = 'event: generating\ndata: ["Dear"]\n\n'
    tricky = ["event: error\ndata: complete"]
    cases = [
        (complete, [TEXT], "complete is the only event"),
        (HEARTBEAT * 2 + complete, [TEXT], "two heartbeats come before complete"),
        (half + complete, [TEXT], "a generating event with a part of the text comes first"),
        (complete.replace("\n", "\r\n"), [TEXT], r"lines end with \r\n, as they may"),
        (f"event: complete\ndata: {json.dumps(tricky)}\n\n", tricky, "the text looks like events"),
        ('event: complete\ndata: ["", 2]\n\n', ["", 2], "the text of the page is empty"),
    ]
    for text, wanted, when in cases:
        result = attempt(function, _stream(text))
        expect_type(result, list, "final_data")
        expect(
            result == wanted,
            f"where {when}, final_data returned {_short(result)}, not {_short(wanted)}.",
        )
    try:
        function(_stream(HEARTBEAT + complete, endless=True))
    except _ReadTooFar:
        fail(
            "final_data went on reading behind the event complete, where it may wait for ever: "
            "return as soon as that event is whole, and don't make a list of the stream first.",
        )
    error = f"event: error\ndata: {json.dumps({'error': DAMAGED, 'title': 'Error'})}\n\n"
    for text, when in ((error, "an error comes"), (HEARTBEAT + error, "an error comes late")):
        message = _refusal(function, _stream(text), when=when)
        expect(
            message == DAMAGED,
            f"where {when}, its data says {DAMAGED!r}, and final_data says {message!r}: hand over "
            "the sentence as it is.",
        )
    for data in ('{"error": null}', "null"):
        when = f"an error comes with the data {data}"
        message = _refusal(function, _stream(f"event: error\ndata: {data}\n\n"), when=when)
        expect(
            "None" not in message and "null" not in message,
            f"where {when}, final_data says {message!r}: find a sentence of your own.",
        )
    for text in ("", HEARTBEAT, half):
        when = f"the stream breaks off, here behind {text[-24:]!r}"
        _refusal(function, _stream(text), when=when)
    for end in (len(complete) // 2, len(complete) - 1):
        when = f"the stream breaks off inside the last event, behind {complete[:end][-12:]!r}"
        _refusal(function, _stream(complete[:end]), when=f"{when} (an empty line ends an event)")
    passed(function, "of all events, the last one counts, and a stream that breaks off is noticed.")


def is_blank(function: Callable[[Image.Image], bool]) -> None:
    """Faint and little writing is written; light, shadow and grain are not."""
    for name, page in pages_with_writing().items():
        expect(
            not _judged(function, page),
            f"{name} was called blank: somebody's page would be refused. Ink differs from the "
            "paper right around it, and there may be little of it.",
        )
    for name, page in blank_pages().items():
        expect(
            _judged(function, page),
            f"{name} was not called blank: its gray levels go from {page.getextrema()[0]} to "
            f"{page.getextrema()[1]}, but near any pixel they differ by no more than its grain.",
        )
    passed(function, "blank pages are told from faint writing.")


def _judged(function: Callable, page: Image.Image) -> bool:
    before = page.tobytes()
    result = attempt(function, page)
    if not isinstance(result, np.bool_):  # what a comparison of NumPy's numbers gives
        expect_type(result, bool, "is_blank")
    expect(page.tobytes() == before, "is_blank changed the page that it was given.")
    return bool(result)


HEIGHT, WIDTH = 360, 480
PAGE_TEXT = "Dear all,\nit rains since Monday, and\nnobody has seen the cat.\nYours, Anna"


def blank_pages() -> dict[str, Image.Image]:
    """Photos of empty paper, each with its name: light, grain and shadow differ."""
    generator = np.random.default_rng(5)
    slope = 1 / (1 + np.exp((np.arange(WIDTH) - 200) / 60))

    def grainy(levels: np.ndarray | float, grain: float) -> Image.Image:
        return _photo(levels + grain * generator.standard_normal((HEIGHT, WIDTH)))

    return {
        "white paper": grainy(255.0, 0.0),
        "gray paper": grainy(150.0, 1.5),
        "paper in a photo with much grain": grainy(200.0, 6.0),
        "paper half in a shadow": grainy(220.0 - 110.0 * slope, 2.0),
        "the inside of a bag": grainy(12.0, 3.0),
    }


def pages_with_writing() -> dict[str, Image.Image]:
    """The same with writing, some of it faint, little, or light on dark."""
    generator = np.random.default_rng(6)
    ink, word = _ink(PAGE_TEXT, 28), _ink("Hello", 30)
    slope = 1 / (1 + np.exp((np.arange(WIDTH) - 200) / 60))

    def written(levels: np.ndarray | float, ink: np.ndarray, grain: float) -> Image.Image:
        return _photo(levels + ink + grain * generator.standard_normal((HEIGHT, WIDTH)))

    return {
        "a page in blue ink": written(230.0, -150.0 * ink, 2.0),
        "a page in faint pencil": written(215.0, -26.0 * ink, 1.5),
        "a faint page half in a shadow": written(220.0 - 110.0 * slope, -30.0 * ink, 2.0),
        "a page with one word on it": written(235.0, -140.0 * word, 2.0),
        "a board with chalk on it": written(40.0, 120.0 * ink, 2.0),
    }


def _ink(text: str, size: int) -> np.ndarray:
    """(HEIGHT, WIDTH) share of ink, 0 to 1, of a text at the upper left, in px of height."""
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(mask).multiline_text(
        (30, 40), text, fill=255, font=ImageFont.load_default(size), spacing=size // 2
    )
    return np.asarray(mask, dtype=float) / 255


def _photo(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + "..." + text[-12:]
