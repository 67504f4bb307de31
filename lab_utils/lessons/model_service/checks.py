"""Checks of notebook 06: a handler, a safe address, a client, patience, and a percentile.

No clock and no model: these are arguments of the exercises, and stood in for. The client asks the
lab's own Function URL on this machine, with a stand-in for the function behind it.
"""

import base64
import copy
import json
import math
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

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
from lab_utils.lessons.stand_in import StandIn
from text_recognizer.errors import AddressError, ImageError

go_on = partial(checking.go_on, "model_service")

Reply = tuple[int, dict[str, str], str]
"""Status, headers in lower case, body."""

IMAGE = bytes(range(256)) * 2
"""Stands for the bytes of an image: no text, in no encoding."""


@check
def handle(function: Answer) -> str:
    """Each kind of event gets its status, and JSON that tells a user what to do."""
    request = json.dumps({"image": base64.b64encode(IMAGE).decode()})
    encoded = base64.b64encode(request.encode()).decode()
    for what, event in {
        "a plain body": {"body": request, "isBase64Encoded": False},
        "a body in base64 (isBase64Encoded is true)": {"body": encoded, "isBase64Encoded": True},
    }.items():
        for text in ("Meet me\nat noon", ""):
            reader = _Reader(text)
            status, document = _handled(function, event, reader, what)
            _expect_image(reader, what)
            expect(
                status == 200,
                f"{what} with an image got the status {status}, not 200, and {document}: undo "
                "the encodings one after the other, the event's first.",
            )
            blank = " A blank page has the text '', and that is an answer." if not text else ""
            expect(
                document == {"pred": text},
                f"{what} with an image, read as {text!r}, was answered with {document}, not with "
                f"the text as pred.{blank}",
            )
    _expect_refusals(function, request, encoded)
    _expect_reader_errors(function, request)
    return "every event gets an answer, and the right status."


class _Reader:
    """Stands for the model; remembers what it was given, since a handler catches errors."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer, self.given = answer, []

    def __call__(self, image: bytes) -> str:
        self.given.append(image)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _handled(
    function: Answer, event: dict[str, Any], read: Callable, what: str, *more: Any
) -> tuple[int, Any]:
    """The status of an answer, and the document in its body."""
    with saying(f"with {what}"):
        answer = attempt(function, copy.deepcopy(event), read, *more)
        answer = expect_type(answer, dict, "handle")
    missing = [name for name in ("statusCode", "headers", "body") if name not in answer]
    expect(not missing, f"with {what}, the answer has no {' and no '.join(missing)}.")
    status, headers, body = answer["statusCode"], answer["headers"], answer["body"]
    expect(
        isinstance(status, int) and not isinstance(status, bool),
        f"with {what}, statusCode is {status!r}: give a number.",
    )
    kinds = {str(name).lower(): value for name, value in dict(headers).items()}
    expect(
        str(kinds.get("content-type", "")).partition(";")[0].strip() == "application/json",
        f"with {what}, the headers are {headers}: the client must be told that JSON comes.",
    )
    expect(
        isinstance(body, str),
        f"with {what}, body is a {type(body).__name__}: what goes over HTTP is text, so write "
        "the document as JSON.",
    )
    try:
        return status, json.loads(body)
    except ValueError:
        fail(f"with {what}, body isn't JSON: {body[:60]!r}.")


def _expect_image(reader: _Reader, what: str) -> None:
    if reader.given and reader.given != [IMAGE]:
        image, times = reader.given[0], len(reader.given)
        kind = type(image).__name__
        size = f"{len(image):,} " if isinstance(image, bytes | str) else ""
        came = f"{times} times" if image == IMAGE else f"{size}{kind}"
        fail(
            f"with {what}, the reader was given {came}, not once the {len(IMAGE)} bytes of the "
            "image: the image is base64 text within JSON, so decode it after the JSON."
        )


def _expect_refusals(function: Answer, request: str, encoded: str) -> None:
    in_base64 = {"isBase64Encoded": True}
    bodies: dict[str, Any] = {
        "no body": {},
        "a body that is None": {"body": None},
        "an empty body": {"body": ""},
        "a body that isn't JSON": {"body": "image=abc"},
        "JSON that is cut off": {"body": request[:40]},
        "a JSON list": {"body": "[1, 2]"},
        "the JSON value null": {"body": "null"},
        "a JSON object without image": {"body": '{"picture": "aGVsbG8="}'},
        "an image that is a number": {"body": '{"image": 5}'},
        "an image that is null": {"body": '{"image": null}'},
        "an image that isn't base64, 'cat.png, please'": {"body": '{"image": "cat.png, please"}'},
        "an image with an umlaut in it": {"body": '{"image": "\\u00fcber"}'},
        "a body in broken base64": {"body": encoded[:-3], "isBase64Encoded": True},
        "a body in base64 with a * in it": {"body": f"{encoded[:8]}*{encoded[8:]}", **in_base64},
        "bytes that aren't text": {"body": "//79", "isBase64Encoded": True},
    }
    for what, event in bodies.items():
        reader = _Reader("text")
        status, document = _handled(function, {"isBase64Encoded": False} | event, reader, what)
        advice = (
            " b64decode skips what isn't base64, unless you pass validate=True."
            if reader.given and "isn't base64" in what
            else ""
        )
        expect(
            status == 400,
            f"{what} got the status {status}, not 400: this is the sender's mistake, and the "
            f"same request will never succeed.{advice}",
        )
        _expect_sentence(document, what)
    limit, what = len(IMAGE) - 1, "an image of one byte more than max_bytes"
    reader = _Reader("text")
    status, document = _handled(function, {"body": request}, reader, what, limit)
    expect(status == 413, f"{what} got the status {status}, not 413: count the decoded bytes.")
    expect(not reader.given, f"{what} was read all the same: refuse it before work is done.")
    _expect_sentence(document, what)
    status, _ = _handled(
        function, {"body": request}, _Reader("text"), "an image of max_bytes", len(IMAGE)
    )
    expect(
        status == 200,
        f"an image of just max_bytes got the status {status}, not 200: count the decoded bytes, "
        "and not the base64 text, which is a third longer.",
    )
    for size, wanted in ((4_000_000, 200), (4_000_001, 413)):
        image = base64.b64encode(bytes(size)).decode()
        event = {"body": json.dumps({"image": image})}
        what = f"an image of {size:,} bytes, and no max_bytes given"
        status, _ = _handled(function, event, _Reader("text"), what)
        expect(status == wanted, f"{what} got the status {status}, not {wanted}.")


def _expect_reader_errors(function: Answer, request: str) -> None:
    sentence = "This image cannot be read; send a JPEG or a PNG."
    what = "an image that the reader refuses with a RecognizerError"
    status, document = _handled(function, {"body": request}, _Reader(ImageError(sentence)), what)
    advice = " RecognizerError is a ValueError, too." if status == 400 else ""
    expect(
        status == 422,
        f"{what} got the status {status}, not 422: the request is well-formed, its content "
        f"cannot be used.{advice}",
    )
    expect(
        document == {"error": sentence},
        f"{what} was answered with {document}: hand on the error's sentence as error, it is "
        "written for users.",
    )
    secret = "/var/task/model.pt"
    for error in (RuntimeError(f"{secret} is broken"), ValueError(secret), KeyError(secret)):
        what = f"a {type(error).__name__} from within the reader"
        status, document = _handled(function, {"body": request}, _Reader(error), what)
        expect(
            status == 500,
            f"{what} got the status {status}, not 500: the sender did nothing wrong. Keep apart "
            "what fails before the reader is called from what fails within it.",
        )
        expect(
            secret not in json.dumps(document),
            f"{what} was shown to the sender, {document}: it may hold paths or secrets, so "
            "answer with a sentence of your own.",
        )
        _expect_sentence(document, what)


def _expect_sentence(document: Any, what: str) -> None:
    expect(
        isinstance(document, dict) and list(document) == ["error"] and bool(document["error"]),
        f"{what} was answered with {document}: give a sentence as error, and nothing else.",
    )


NAMES = {
    "images.example": ["93.184.216.34"],
    "both.example": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "93.184.216.34"],
    "203-0-113-7.example": ["8.8.8.8"],
    "localhost": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "intranet": ["10.20.0.7"],
    "mixed.example": ["93.184.216.34", "192.168.1.10"],
    "2130706433": ["127.0.0.1"],
    "0x7f.1": ["127.0.0.1"],
    "nowhere.example": [],
    "mapped.example": ["::ffff:169.254.169.254"],
}
"""What the stand-in for the name service knows; the numbers are written as browsers take them."""

PRIVATE = {
    "10.1.2.3": "a private network",
    "172.16.5.4": "a private network",
    "192.168.0.1": "a private network",
    "127.0.0.53": "this machine itself",
    "0.0.0.0": "this machine itself",
    "169.254.169.254": "the cloud's metadata service",
    "169.254.170.2": "link-local: the credentials of a container",
    "100.64.0.9": "shared by a provider's customers (RFC 6598), neither private nor global",
    "224.0.0.251": "a group of machines (multicast)",
    "::1": "this machine itself",
    "fe80::1": "link-local",
    "fd00:ec2::254": "the cloud's metadata service over IPv6",
    "::ffff:169.254.169.254": "an IPv4 address written as IPv6",
    "::ffff:10.0.0.1": "an IPv4 address written as IPv6",
    "ff0e::1": "a group of machines (multicast)",
}


class _Names:
    """Stands for the name service; what a name means may change from one look-up to the next."""

    def __init__(self, later: dict[str, list[str]] | None = None) -> None:
        self.asked: list[str] = []
        self.later = later or {}

    def __call__(self, host: str) -> list[str]:
        known = NAMES | (self.later if host in self.asked else {})
        self.asked.append(host)
        if ":" in host or host.replace(".", "").isdigit() and host.count(".") == 3:
            return [host]
        return list(known.get(host, []))


@check
def safe_address(function: Answer) -> str:
    """Public hosts give the address to connect to, once looked up; the rest is refused."""
    for url, wanted in {
        "http://images.example/page.png": "93.184.216.34",
        "https://images.example:8443/a?b=http://10.0.0.1/#c": "93.184.216.34",
        "HTTPS://both.example/page.png": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
        "http://8.8.4.4/page.png": "8.8.4.4",
        "http://203-0-113-7.example/": "8.8.8.8",
        "http://[2606:4700::1111]/": "2606:4700::1111",
    }.items():
        _expect_address(function, url, wanted)
    for url, why in {
        "file:///etc/passwd": "it is a file of this machine",
        "ftp://images.example/page.png": "only http and https are asked for",
        "httpx://images.example/page.png": "only http and https are asked for",
        "//images.example/page.png": "it has no scheme",
        "http:///page.png": "it has no host",
        "http://localhost:8080/": "the name means this machine",
        "http://metadata.example/latest/": "the name means the cloud's metadata service",
        "http://intranet/": "the name means a private address",
        "http://2130706433/": "this number means 127.0.0.1: believe what `resolve` says",
        "http://0x7f.1/": "this number means 127.0.0.1: believe what `resolve` says",
        "http://images.example@127.0.0.1/": "what comes before @ is a user, not the host",
        "http://127.0.0.1:80#@images.example/": "the host ends where # begins",
        "http://nowhere.example/": "the name has no address at all",
        "http://mixed.example/": "one of its two addresses is private: any of them may be taken",
    }.items():
        _expect_refusal(function, url, why)
    for address, what in PRIVATE.items():
        host = f"[{address}]" if ":" in address else address
        _expect_refusal(function, f"http://{host}/", f"{address} is {what}")
    _expect_one_look_up(function)
    for url, why in {
        "http://mapped.example/": "its address is an IPv4 one, written as IPv6: see ipv4_mapped",
        "http://[::ffff:224.0.0.251]/": "it is an IPv4 group of machines, written as IPv6",
        "http://[::1/": "it is not a URL, and urlsplit says so with a ValueError",
        "http://[images.example]/": "it is not a URL, and urlsplit says so with a ValueError",
        "": "it is empty",
    }.items():
        _expect_refusal(function, url, why)
    return "only public addresses are connected to, and only checked ones."


def _expect_address(function: Answer, url: str, wanted: str) -> None:
    names = _Names()
    try:
        result = function(url, names)
    except AddressError as error:
        fail(f"{url} was refused ({short(str(error))}), though its address {wanted} is public.")
    except Exception:
        result = attempt(function, url, _Names())
    if result is None or result is ...:
        attempt(function, url, _Names())
    result = expect_type(result, str, "safe_address")
    expect(
        result == wanted,
        f"for {url}, safe_address returned {result!r}, not {wanted!r}: return the first address "
        "that `resolve` gave, so that the caller connects to what was checked.",
    )


def _expect_refusal(function: Answer, url: str, why: str) -> None:
    expect_raises(function, AddressError, url, _Names(), when=f"for {url}", why=why)


def _expect_one_look_up(function: Answer) -> None:
    names = _Names(later={"images.example": ["169.254.169.254"]})
    url = "http://images.example/page.png"
    try:
        result = function(url, names)
    except AddressError:
        result = None
    expect(
        result == "93.184.216.34" and len(names.asked) == 1,
        f"{url} was looked up {len(names.asked)} times. An attacker's name service answers "
        "otherwise each time (DNS rebinding), so look up once and use only that answer.",
    )


BUSY: Reply = (503, {}, '{"error": "busy"}')
LIMITED: Reply = (429, {"retry-after": "3"}, '{"error": "too many requests"}')
DONE: Reply = (200, {}, '{"pred": "text"}')


class _Function:
    """Stands for the function behind a Function URL; remembers the events that it got."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        self.events.append(event)
        return self.answer


@check
def ask_service(function: Answer) -> str:
    """One request becomes the right event; every status is an answer, and silence is an error."""
    from lab_utils.service.gateway import Gateway, InProcessFunction

    function.uses_a_tool()
    behind = _Function()
    with Gateway([InProcessFunction(behind)]) as url:
        url.start()
        for status, headers, body in (DONE, (422, {}, '{"error": "no image"}'), LIMITED):
            behind.events.clear()
            behind.answer = {"statusCode": status, "headers": headers, "body": body}
            with saying(f"where the function answers with status {status}"), _timeouts() as set_:
                result = attempt(function, url.url, IMAGE)
                result = expect_type(result, tuple, "ask_service")
            _expect_event(behind.events)
            _expect_reply(result, (status, headers, body))
    why = "your library has its own errors for that, so catch them and raise this one"
    with StandIn(b"").serving() as hangs_up:
        for when, address in {
            "nobody listens at the address any more": url.url,
            "the connection ends without an answer": hangs_up,
        }.items():
            expect_raises(function, ConnectionError, address, IMAGE, when=f"where {when}", why=why)
    expect(
        not set_ or 60 in set_,
        f"ask_service gives up after {max(set_, default=0):g} s, not after 60: a service that "
        "starts needs longer than most libraries wait unless they are told.",
    )
    return "the function gets the right event, and each of its answers arrives."


@contextmanager
def _timeouts() -> Iterator[set[float]]:
    """The time limits in s that connections get inside, whichever library opens them."""
    found: set[float] = set()
    limit = socket.socket.settimeout

    def recorded(self: socket.socket, seconds: float | None) -> None:
        found.update([seconds] if seconds else [])
        limit(self, seconds)

    with mock.patch.object(socket.socket, "settimeout", recorded):
        yield found


def _expect_event(events: list[dict[str, Any]]) -> None:
    expect(
        len(events) == 1,
        f"the function was called {len(events)} times, not once: send one request to the address "
        "as it is; asking again is the next exercise.",
    )
    event = events[0]
    method, body = event["requestContext"]["http"]["method"], event.get("body", "")
    expect(method == "POST", f"the event's method is {method}, not POST: a GET has no body.")
    kind = event["headers"].get("content-type", "none")
    expect(
        kind.startswith("application/json"),
        f"the event's content-type is {kind}, not application/json, so a handler can't know what "
        "the body is: send JSON, and say so.",
    )
    try:
        image = json.loads(body)["image"]
    except (ValueError, TypeError, KeyError):
        fail(f'the event\'s body is {short(body)}: send the JSON object {{"image": base64 text}}.')
    expect(
        image == base64.b64encode(IMAGE).decode(),
        f"the event's body has {short(image)} as its image, not the base64 text of the bytes; "
        "b64encode returns bytes, and decode() makes text of them.",
    )


def _expect_reply(result: tuple, wanted: Reply) -> None:
    expect(
        len(result) == 3 and result[0] == wanted[0] and result[2] == wanted[2],
        f"ask_service returned {short(result)}, where the status was {wanted[0]} and the body the "
        f"text {wanted[2]!r}: return the three as they came, the body as text.",
    )
    names = dict(result[1])
    expect(
        all(names.get(name) == value for name, value in wanted[1].items()),
        f"ask_service returned the headers {short(names)}, without {wanted[1]}: return all of "
        "them, with their names in small letters.",
    )


class _Service:
    """Answers in turn as it was told to; the last answer again and again."""

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self) -> Reply:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if self.asked > 200:
            fail("ask_patiently has asked 200 times: give up when patience runs out.")
        if isinstance(answer, Exception):
            raise answer
        return answer


@check
def ask_patiently(function: Answer) -> str:
    """Asks again where that helps, waits longer each time, and stops in time."""
    result, waits, asked = _asked(function, [DONE], [1.0])
    _expect_answer(result, DONE, "an answer with status 200")
    expect(asked == 1 and not waits, "after a 200, it asked or waited once more.")
    for status in (400, 404, 413, 422, 500, 408, 425, 501, 504, 505, 430, 428, 301, 204, 100):
        answer = (status, {}, '{"error": "no"}')
        result, waits, asked = _asked(function, [answer, DONE], [1.0])
        expect(
            asked == 1 and not waits,
            f"after the status {status} it asked again: the table says which three statuses, and "
            "a connection that fails, pass by waiting.",
        )
        _expect_answer(result, answer, f"the status {status}")
    for what, first in {
        "a 503": BUSY,
        "a 502": (502, {}, ""),
        "a 429": (429, {}, ""),
        "a ConnectionError": ConnectionRefusedError("nobody there"),
    }.items():
        result, waits, asked = _asked(function, [first, DONE], [0.5])
        expect(asked == 2, f"after {what} it asked {asked} times in all, not once more.")
        _expect_answer(result, DONE, f"{what} and then a 200")
        _expect_waits(waits, [0.125], f"after {what}, with draw() = 0.5 and first = 0.25,")
    for when, answers, draws, named, wanted, advice in WAITS:
        _, waits, _ = _asked(function, answers, draws, **named)
        _expect_waits(waits, wanted, when, f" {advice}" if advice else "")
    _expect_end(function)
    for bug in (KeyError("a bug"), TimeoutError("a bug"), ValueError("a bug")):
        expect_raises(
            function,
            type(bug),
            _Service(bug),
            lambda _: None,
            lambda: 1.0,
            when=f"where ask stops with {type(bug).__name__}",
            why="only a ConnectionError passes by waiting; let all others through",
        )
    for text in ("Wed, 21 Oct 2026 07:28:00 GMT", "", "soon"):
        with saying(f"with retry-after {text!r}"):
            _, waits, _ = _asked(function, [(503, {"retry-after": text}, ""), DONE], [1.0])
        advice = " What is not a whole number of seconds counts as 0."
        _expect_waits(waits, [0.25], f"with retry-after {text!r} and draw() = 1,", advice)
    return "it asks again only where that helps, and stops in time."


WAITS = [
    (
        "before its four retries, with draw() = 1,",
        [*[BUSY] * 4, DONE],
        [1.0],
        {},
        [0.25, 0.5, 1.0, 2.0],
        "The longest wait doubles each time.",
    ),
    (
        "before its four retries, with draw() = 0.5, 0, 0.25 and 1,",
        [*[BUSY] * 4, DONE],
        [0.5, 0.0, 0.25, 1.0],
        {},
        [0.125, 0.0, 0.25, 2.0],
        "Draw again for each wait, and double the longest wait, not the drawn one.",
    ),
    ("with first = 1.5 and draw() = 1,", [BUSY, BUSY, DONE], [1.0], {"first": 1.5}, [1.5, 3.0], ""),
    (
        "after a 429 with retry-after 3 and a 503 without, with draw() = 1,",
        [LIMITED, BUSY, DONE],
        [1.0],
        {},
        [3.25, 0.5],
        "What the service asks for comes first, and the random part is added: clients that were "
        "told the same must not come back together.",
    ),
    (
        "after a 503 with retry-after 2, with draw() = 1,",
        [(503, {"retry-after": "2"}, ""), DONE],
        [1.0],
        {},
        [2.25],
        "Any of the three statuses may come with retry-after.",
    ),
]
"""When, what the service answers, what is drawn, arguments, the waits (s), and advice."""


def _asked(
    function: Answer, answers: Iterable[Any], draws: list[float], **named: float
) -> tuple[Any, list[float], int]:
    """The result, the waits in s, and how many times the service was asked."""
    service, waits, left = _Service(*answers), [], list(draws)

    def draw() -> float:
        if len(left) > 1:
            return left.pop(0)
        return left[0]

    def sleep(seconds: float) -> None:
        expect(seconds >= 0, f"ask_patiently wanted to sleep {seconds:g} s.")
        waits.append(seconds)

    result = attempt(function, service, sleep, draw, **named)
    return expect_type(result, tuple, "ask_patiently"), waits, service.asked


def _expect_answer(result: Any, wanted: Reply, what: str) -> None:
    expect(
        result == wanted,
        f"with {what}, ask_patiently returned {result!r}, not {wanted!r}: return what `ask` gave.",
    )


def _expect_waits(waits: list[float], wanted: list[float], when: str, advice: str = "") -> None:
    same = len(waits) == len(wanted) and all(map(_close, waits, wanted))
    expect(
        same,
        f"{when} it waited {_listed(waits)} s, not {_listed(wanted)} s.{advice}",
    )


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def _listed(numbers: list[float]) -> str:
    shown = [f"{number:g}" for number in numbers[:8]]
    return ", ".join(shown + ["..."] * (len(numbers) > 8)) or "0"


def _expect_end(function: Answer) -> None:
    busy = "asking a service that stays busy, with"
    for patience, advice in (
        (4.0, "The sum of all waits counts, not each one by itself."),
        (3.75, "All waits together may be just as long as patience."),
    ):
        result, waits, asked = _asked(function, [BUSY], [1.0], patience=patience)
        expect(
            sum(waits) <= patience,
            f"with patience = {patience:g} it waited {_listed(waits)} s, {sum(waits):g} s in all: "
            "give up where the next wait would pass the limit, not after it.",
        )
        when = f"{busy} patience = {patience:g} and draw() = 1,"
        _expect_waits(waits, [0.25, 0.5, 1.0, 2.0], when, f" {advice}")
        expect(asked == 5, f"after four waits it had asked {asked} times: ask after each wait.")
        _expect_answer(result, BUSY, "a service that stays busy")
    _, waits, _ = _asked(function, [BUSY], [1.0])
    when = f"{busy} draw() = 1 and no patience given,"
    _expect_waits(waits, [0.25, 0.5, 1.0, 2.0, 4.0], when, " It is 10 s then.")
    wanted = (429, {"retry-after": "60"}, "")
    result, waits, _ = _asked(function, [wanted, DONE], [1.0], patience=10.0)
    expect(
        not waits,
        f"told to come back in 60 s, with patience = 10, it waited {_listed(waits)} s: where the "
        "wait would pass the limit, return at once.",
    )
    _expect_answer(result, wanted, "a service that says 60 s")
    dead = ConnectionResetError("gone")
    result, _, asked = _asked(function, [dead], [1.0], patience=1.0)
    expect(asked == 3, f"nobody was there, and with patience = 1 it asked {asked} times, not 3.")
    expect(
        result == (503, {}, ""),
        f"where nobody ever answered it returned {result!r}, not (503, {{}}, '').",
    )


RISING = [(0.0, 0.0, float(i)) for i in range(20, 0, -1)]
HUNDRED = [(0.0, 0.0, float(i)) for i in range(100, 0, -1)]
LOST = [(0.0, 0.0, 0.5)] * 18 + [(1.0, 1.0, None)] * 2
RANK = "The rank is the share of the count, rounded up, and ranks start at 1."
LATENCIES = [
    (
        "20 requests of 0.25 s each",
        [(float(i), float(i), i + 0.25) for i in range(20)],
        95,
        0.25,
        "",
    ),
    (
        "20 requests that were each sent 3 s late and took 0.25 s more",
        [(float(i), i + 3.0, i + 3.25) for i in range(20)],
        95,
        3.25,
        "The user waits from the moment when the request should have been sent.",
    ),
    (
        "20 requests that took 1 to 20 s, in no order",
        RISING,
        95,
        19.0,
        "Sort, then 95 of 100, here 19 of 20, took no longer than the result.",
    ),
    *(
        (
            "100 requests that took 1 to 100 s",
            HUNDRED,
            percent,
            float(percent),
            "0.07 is not an exact number for a computer: multiply before you divide.",
        )
        for percent in (7, 14, 28, 55, 56)
    ),
    *(
        ("20 requests that took 1 to 20 s", RISING, percent, wanted, RANK)
        for percent, wanted in {50: 10.0, 100: 20.0, 99: 20.0, 1: 1.0, 5: 1.0, 6: 2.0}.items()
    ),
    (
        "18 requests of 0.5 s and 2 that were never answered",
        LOST,
        95,
        math.inf,
        "No answer is an infinitely late one: left out, a service that drops what is slow looks "
        "fast.",
    ),
    ("18 requests of 0.5 s and 2 without answer", LOST, 90, 0.5, ""),
    ("a request of 0.5 s that was answered at 0 s", [(-0.5, -0.5, 0.0)], 95, 0.5, "0 is a time."),
    (
        "1000 requests that took 1 to 1000 s",
        [(0.0, 0.0, float(i)) for i in range(1, 1001)],
        95,
        950.0,
        RANK,
    ),
]
"""Requests in words, their times, the percentile, the latency (s), and advice."""


@check
def percentile_latency(function: Answer) -> str:
    """Waiting before the request was sent counts, failures count, and the rank is exact."""
    for what, requests, percent, wanted, advice in LATENCIES:
        result = attempt(function, list(requests), percent)
        result = expect_type(result, (float, int), "percentile_latency")
        expect(
            result == wanted or math.isclose(result, wanted, rel_tol=1e-6),
            f"with {what}, percentile_latency({percent} %) is {result:.3f} s, not {wanted:.3f} s."
            f" {advice}".rstrip(),
        )
    result = expect_type(attempt(function, list(HUNDRED)), (float, int), "percentile_latency")
    expect(
        result == 95,
        f"with 100 requests that took 1 to 100 s, and no percent given, percentile_latency "
        f"returned {result}, not 95.",
    )
    return "late and lost requests count, and the percentile is exact."
