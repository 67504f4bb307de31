"""Checks of notebook 06: a handler, a safe address, a client, patience, and a percentile.

They use no clock and no model: both are arguments of the exercises, and the checks pass simulated
ones. The client asks the lab's own Function URL on this machine, with a simulated function behind
it.
"""

import base64
import json
import math
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any
from unittest import mock

from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    CheckFailed,
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
from text_recognizer.errors import AddressError, ImageError

go_on = partial(checking.go_on, "model_service")

Reply = tuple[int, dict[str, str], str]
"""Status, headers in lower case, body."""

IMAGE = bytes(range(256)) * 2
"""Used as the bytes of an image; they aren't text in any encoding."""


@check
def handle(function: Answer) -> str:
    """Each kind of event gets its status, and JSON that tells a user what to do."""
    request = json.dumps({"image": base64.b64encode(IMAGE).decode()})
    encoded = base64.b64encode(request.encode()).decode()
    for what, event in {
        "a plain body": _plain(request),
        "a body in base64 (isBase64Encoded is true)": {"body": encoded, "isBase64Encoded": True},
    }.items():
        for text in ("Meet me\nat noon", ""):
            reader = _Reader(text)
            status, document = _handled(function, event, reader, what)
            expect(
                reader.given in ([], [IMAGE]),
                f"with {what}, the reader was given {short(reader.given)}, not once the "
                f"{len(IMAGE)} bytes of the image: the image is base64 text within JSON.",
            )
            expect(
                (status, document) == (200, {"pred": text}),
                f"{what} with an image, read as {text!r}, got the status {status} and {document}, "
                "not 200 and the text as pred: undo the encodings one after the other, the "
                "event's first. (A blank page has the text '', and that is an answer.)",
            )
    _expect_refusals(function, request, encoded)
    _expect_reader_errors(function, _plain(request))
    return "every event gets an answer, and the right status."


def _plain(body: str) -> dict[str, Any]:
    return {"body": body, "isBase64Encoded": False}


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
        answer = expect_type(attempt(function, event, read, *more), dict, "handle")
        missing = [name for name in ("statusCode", "headers", "body") if name not in answer]
        expect(not missing, f"the answer has no {' and no '.join(missing)}.")
        status, headers, body = answer["statusCode"], answer["headers"], answer["body"]
        expect(
            isinstance(status, int) and not isinstance(status, bool),
            f"statusCode is {status!r}: give a number.",
        )
        kinds = {str(name).lower(): value for name, value in dict(headers).items()}
        expect(
            str(kinds.get("content-type", "")).partition(";")[0].strip() == "application/json",
            f"the headers are {headers}: tell the client that the body is JSON.",
        )
        try:
            return status, json.loads(expect_type(body, str, "the body"))
        except (CheckFailed, ValueError):
            fail(f"body is {short(body)}: what goes over HTTP is text, so write it as JSON.")


def _expect_error(
    function: Answer, event: dict[str, Any], reader: _Reader, what: str, wanted: int, why: str
) -> Any:
    """The event is answered with this status and one sentence, which is returned."""
    status, document = _handled(function, event, reader, what)
    expect(status == wanted, f"{what} got the status {status}, not {wanted}: {why}.")
    expect(
        _is_error(document),
        f"{what} was answered with {document}: give a sentence as error, and nothing else.",
    )
    return document["error"]


def _is_error(document: Any) -> bool:
    is_one = isinstance(document, dict) and list(document) == ["error"]
    return is_one and isinstance(document["error"], str) and bool(document["error"].strip())


def _expect_refusals(function: Answer, request: str, encoded: str) -> None:
    in_base64 = {"isBase64Encoded": True}
    why = "the sender made a mistake, and the same request will never succeed"
    for what, event in {
        "no body": {},
        "a body that is None": {"body": None},
        "an empty body": {"body": ""},
        "a body that isn't JSON": {"body": "image=abc"},
        "JSON that is cut off": {"body": request[:40]},
        "a JSON list": {"body": "[1, 2]"},
        "100,000 opening brackets (too deep for json)": {"body": "[" * 100_000},
        "the JSON value null": {"body": "null"},
        "a JSON object without image": {"body": '{"picture": "aGVsbG8="}'},
        "an image that is a number": {"body": '{"image": 5}'},
        "an image that is null": {"body": '{"image": null}'},
        "an image that isn't base64, 'cat.png, please'": {"body": '{"image": "cat.png, please"}'},
        "an image with an umlaut in it": {"body": '{"image": "\\u00fcber"}'},
        "a body in broken base64": {"body": encoded[:-3], **in_base64},
        "a body in base64 with a * in it": {"body": f"{encoded[:8]}*{encoded[8:]}", **in_base64},
        "bytes that aren't text": {"body": "//79", **in_base64},
    }.items():
        reader, event = _Reader("text"), {"isBase64Encoded": False} | event
        skips = "b64decode skips what isn't base64, unless you pass validate=True"
        _expect_error(function, event, reader, what, 400, f"{why} ({skips})")
    count = "count the decoded bytes, not those of the base64 text, and refuse before you read"
    for size, limit, wanted in (
        (len(IMAGE), [len(IMAGE) - 1], 413),
        (len(IMAGE), [len(IMAGE)], 200),
        (4_000_000, [], 200),
        (4_000_001, [], 413),
    ):
        event = _plain(json.dumps({"image": base64.b64encode(bytes(size)).decode()}))
        said = f"max_bytes={limit[0]}" if limit else "no max_bytes given"
        reader, what = _Reader("text"), f"an image of {size:,} bytes, with {said},"
        status, document = _handled(function, event, reader, what, *limit)
        expect(
            status == wanted and len(reader.given) == (wanted == 200),
            f"{what} got the status {status}, not {wanted}: {count}.",
        )
        expect(
            status == 200 or _is_error(document),
            f"{what} was answered with {document}: give a sentence as error.",
        )


def _expect_reader_errors(function: Answer, event: dict[str, Any]) -> None:
    sentence = "This image cannot be read; send a JPEG or a PNG."
    what = "an image that the reader refuses with a RecognizerError"
    why = "the request is well-formed, but the image is not (RecognizerError is a ValueError, too)"
    told = _expect_error(function, event, _Reader(ImageError(sentence)), what, 422, why)
    expect(
        told == sentence,
        f"{what} was answered with {told!r}: pass on the error's sentence; it is meant for users.",
    )
    secret = "/var/task/model.pt"
    for error in (RuntimeError(f"{secret} is broken"), ValueError(secret), KeyError(secret)):
        what = f"a {type(error).__name__} from within the reader"
        why = "the sender did nothing wrong; tell errors in the reader from errors before it"
        told = _expect_error(function, event, _Reader(error), what, 500, why)
        expect(
            secret not in json.dumps(told),
            f"{what} was shown to the sender, {told!r}: it may hold paths or secrets, so answer "
            "with a sentence of your own.",
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
"""What the simulated name service knows; the numbers are in forms that browsers accept."""

ALLOWED = {
    "http://images.example/page.png": "93.184.216.34",
    "https://images.example:8443/a?b=http://10.0.0.1/#c": "93.184.216.34",
    "HTTPS://both.example/page.png": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "http://8.8.4.4/page.png": "8.8.4.4",
    "http://203-0-113-7.example/": "8.8.8.8",
    "http://[2606:4700::1111]/": "2606:4700::1111",
}

REFUSED = {
    "file:///etc/passwd": "it is a file of this machine",
    "ftp://images.example/page.png": "only http and https are allowed",
    "httpx://images.example/page.png": "only http and https are allowed",
    "//images.example/page.png": "it has no scheme",
    "http:///page.png": "it has no host",
    "http://localhost:8080/": "the name means this machine",
    "http://metadata.example/latest/": "the name means the cloud's metadata service",
    "http://intranet/": "the name means a private address",
    "http://2130706433/": "this number means 127.0.0.1: trust what `resolve` says",
    "http://0x7f.1/": "this number means 127.0.0.1: trust what `resolve` says",
    "http://images.example@127.0.0.1/": "what comes before @ is a user, not the host",
    "http://127.0.0.1:80#@images.example/": "the host ends where # begins",
    "http://nowhere.example/": "the name has no address at all",
    "http://mixed.example/": "one of its two addresses is private, and either might be used",
    "http://10.1.2.3/": "10.1.2.3 is in a private network",
    "http://172.16.5.4/": "172.16.5.4 is in a private network",
    "http://192.168.0.1/": "192.168.0.1 is in a private network",
    "http://127.0.0.53/": "127.0.0.53 is this machine itself",
    "http://0.0.0.0/": "0.0.0.0 is this machine itself",
    "http://169.254.169.254/": "169.254.169.254 is the cloud's metadata service",
    "http://169.254.170.2/": "169.254.170.2 is link-local: the credentials of a container",
    "http://100.64.0.9/": "100.64.0.9 is shared by a provider's customers, and not global",
    "http://224.0.0.251/": "224.0.0.251 is a group of machines (multicast)",
    "http://[::1]/": "::1 is this machine itself",
    "http://[fe80::1]/": "fe80::1 is link-local",
    "http://[fd00:ec2::254]/": "fd00:ec2::254 is the cloud's metadata service over IPv6",
    "http://[::ffff:169.254.169.254]/": "it is an IPv4 address written as IPv6",
    "http://[::ffff:10.0.0.1]/": "it is an IPv4 address written as IPv6",
    "http://[ff0e::1]/": "ff0e::1 is a group of machines (multicast)",
    "http://mapped.example/": "its address is an IPv4 one, written as IPv6: see ipv4_mapped",
    "http://[::ffff:224.0.0.251]/": "it is an IPv4 group of machines, written as IPv6",
    "http://[::1/": "it is not a URL, and urlsplit says so with a ValueError",
    "http://[images.example]/": "it is not a URL, and urlsplit says so with a ValueError",
    "": "it is empty",
}


class _Names:
    """A simulated name service; looked up a second time, a name means this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[str]:
        again = host in self.asked
        self.asked.append(host)
        if ":" in host or host.replace(".", "").isdigit() and host.count(".") == 3:
            return [host]
        return ["127.0.0.1"] if again else list(NAMES.get(host, []))


@check
def safe_address(function: Answer) -> str:
    """Public hosts give the address to connect to, once looked up; the rest is refused."""
    for url, wanted in ALLOWED.items():
        names = _Names()
        why = "it is public; return the first address that `resolve` gave when it was first asked"
        expect_result(function, (url, names), wanted, why, f"for {url}")
        expect(
            len(names.asked) == 1,
            f"{url} was looked up {len(names.asked)} times. An attacker's name service may answer "
            "differently each time (DNS rebinding), so look up once and use only that answer.",
        )
    for url, why in REFUSED.items():
        expect_raises(function, AddressError, url, _Names(), when=f"for {url}", why=why)
    return "only public addresses are connected to, and only checked ones."


BUSY: Reply = (503, {}, '{"error": "busy"}')
LIMITED: Reply = (429, {"retry-after": "3"}, '{"error": "too many requests"}')
DONE: Reply = (200, {}, '{"pred": "text"}')


@check
def ask_service(function: Answer) -> str:
    """One request becomes the right event; every status is an answer, and silence is an error."""
    from lab_utils.service.gateway import Gateway, InProcessFunction

    function.uses_a_tool()
    behind = mock.Mock()
    with Gateway([InProcessFunction(behind)]) as service:
        for status, headers, body in (DONE, (422, {}, '{"error": "no image"}')):
            behind.reset_mock()
            behind.return_value = {"statusCode": status, "headers": headers, "body": body}
            with _timeouts() as limits:
                _expect_reply(function, service.url, (status, headers, body))
            _expect_event([call.args[0] for call in behind.call_args_list])
    with _late(0).serving() as address:
        _expect_reply(function, address, LIMITED)
    expect(None not in limits, "ask_service may wait for an answer for ever: give up after 60 s.")
    expect(
        not limits or 60 in limits,
        f"ask_service gives up after {max(limits, default=0):g} s, not after 60: a service that "
        "is starting needs longer than most libraries wait by default.",
    )
    why = "your library has its own errors for that, so catch them and raise this one"
    cut = http_answer("200 OK", body=b'{"pred": "te', kind="application/json", length=99)
    with StandIn(b"").serving() as hangs_up, StandIn(cut).serving() as breaks_off:
        for when, address in {
            "if nobody listens at the address any more": service.url,
            "if the connection ends without an answer": hangs_up,
            "if the connection ends within an answer": breaks_off,
        }.items():
            expect_raises(function, ConnectionError, address, IMAGE, when=when, why=why)
    if limits:  # else the library keeps its time in another way
        with _late(30).serving() as address, _timeouts({60: 0.3}):
            when = "if no answer comes in time (the check shortens your 60 s)"
            expect_raises(function, ConnectionError, address, IMAGE, when=when, why=why)
    return "the function gets the right event, and you return each of its answers."


def _late(seconds: float) -> StandIn:
    """A server that answers with LIMITED after so many s; the header's name is not in small
    letters."""
    status, headers, body = LIMITED
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items())
    answer = http_answer(f"{status} X", lines, body.encode(), "application/json")
    return StandIn(answer, seconds)


def _expect_reply(function: Answer, address: str, wanted: Reply) -> None:
    status, headers, body = wanted
    with saying(f"if the service answers with status {status}"):
        result = expect_type(attempt(function, address, IMAGE), tuple, "ask_service")
        expect(
            len(result) == 3
            and (result[0], result[2]) == (status, body)
            and dict(result[1]).items() >= headers.items(),
            f"ask_service returned {short(result, 160)}, and the answer was {status}, {body!r} "
            f"and, among others, the headers {headers}: return all three unchanged, with "
            "the names of headers in small letters and the body as text.",
        )


@contextmanager
def _timeouts(instead: Mapping[float, float] = MappingProxyType({})) -> Iterator[set[float | None]]:
    """The time limits in s that connections get inside, whichever library opens them; None where
    one has no limit. instead: those that are replaced."""
    found: set[float | None] = set()
    limit, connect = socket.socket.settimeout, socket.socket.connect

    def recorded(self: socket.socket, seconds: float | None) -> None:
        found.update([seconds] if seconds else [])
        limit(self, instead.get(seconds, seconds))

    def connecting(self: socket.socket, address: Any) -> None:
        found.update([None] if self.gettimeout() is None else [])
        connect(self, address)

    with (
        mock.patch.object(socket.socket, "settimeout", recorded),
        mock.patch.object(socket.socket, "connect", connecting),
    ):
        yield found


def _expect_event(events: list[dict[str, Any]]) -> None:
    expect(
        len(events) == 1,
        f"the function was called {len(events)} times, not once: send one request to the address "
        "as it is; asking again is the next exercise.",
    )
    event = events[0]
    method, body = event["requestContext"]["http"]["method"], event.get("body", "")
    kind = event["headers"].get("content-type", "none")
    expect(
        method == "POST" and kind.startswith("application/json"),
        f"the event's method is {method} and its content-type {kind}, not POST and "
        "application/json: send JSON, and say so.",
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


class _Service:
    """Gives these answers in turn, and then repeats the last one."""

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self) -> Reply:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        expect(self.asked <= 200, "it has asked 200 times: give up when patience runs out.")
        if isinstance(answer, Exception):
            raise answer
        return answer


@check
def ask_patiently(function: Answer) -> str:
    """Asks again if that helps, waits longer each time, and stops in time."""
    course = partial(_expect_course, function)
    course("after a 200", [DONE], [], DONE, "an answer is an answer")
    table = "ask again only after the table's three statuses, and after a connection that failed"
    for status in (400, 404, 413, 422, 500, 408, 425, 501, 504, 505, 430, 428, 301, 204, 100):
        answer = (status, {}, '{"error": "no"}')
        course(f"after the status {status}", [answer, DONE], [], answer, table)
    for what, first in {
        "a 503": BUSY,
        "a 502": (502, {}, ""),
        "a 429": (429, {}, ""),
        "a ConnectionError": ConnectionRefusedError("nobody there"),
    }.items():
        why = f"{table}; the wait is draw() * first"
        course(f"after {what}, with draw() = 0.5", [first, DONE], [0.125], DONE, why, [0.5])
    busy, double = [*[BUSY] * 4, DONE], "the longest wait doubles each time"
    course("after four 503s", busy, [0.25, 0.5, 1.0, 2.0], DONE, double)
    what, why = "after four 503s, with draw() = 0.5, 0, 0.25 and 1", f"{double}, not the drawn one"
    course(what, busy, [0.125, 0.0, 0.25, 2.0], DONE, why, [0.5, 0.0, 0.25, 1.0])
    course("with first = 1.5", [BUSY, BUSY, DONE], [1.5, 3.0], DONE, double, first=1.5)
    why = "what the service asks for comes first, and the random part is added, so that clients "
    why += "do not come back together"
    what = "after a 429 with retry-after 3 and a 503 without"
    course(what, [LIMITED, BUSY, DONE], [3.25, 0.5], DONE, why)
    soon = (503, {"retry-after": "2"}, "")
    course("after a 503 with retry-after 2", [soon, DONE], [2.25], DONE, why)
    for text in ("Wed, 21 Oct 2026 07:28:00 GMT", "", "soon", "2.5", "-1", "nan"):
        answers = [(503, {"retry-after": text}, ""), DONE]
        why = "what is not a whole number of seconds counts as 0"
        course(f"with retry-after {text!r}", answers, [0.25], DONE, why)
    _expect_end(function)
    for bug in (KeyError("a bug"), TimeoutError("a bug"), ValueError("a bug")):
        when = f"if ask stops with {type(bug).__name__}"
        why = "waiting helps only after a ConnectionError; let all other exceptions through"
        arguments = (_Service(bug), lambda _: None, lambda: 1.0)
        expect_raises(function, type(bug), *arguments, when=when, why=why)
    return "it asks again only if that helps, and stops in time."


def _expect_end(function: Answer) -> None:
    """The service stays busy: patience decides."""
    course = partial(_expect_course, function)
    why = "give up if the next wait would make the sum of all waits longer than patience"
    for patience in (4.0, 3.75):
        what = f"if the service stays busy, with patience = {patience:g}"
        course(what, [BUSY], [0.25, 0.5, 1.0, 2.0], BUSY, why, patience=patience)
    what = "if the service stays busy, and no patience is given"
    course(what, [BUSY], [0.25, 0.5, 1.0, 2.0, 4.0], BUSY, "the default is 10 s")
    later = (429, {"retry-after": "60"}, "")
    course("after retry-after 60, with patience = 10", [later, DONE], [], later, why, patience=10.0)
    gone = [ConnectionResetError("gone")]
    why = "the answer of a service that nobody reaches is (503, {}, '')"
    course("if nobody ever answers", gone, [0.25, 0.5], (503, {}, ""), why, patience=1.0)


def _expect_course(
    function: Answer,
    given: str,
    answers: list[Reply | Exception],
    waits: list[float],
    wanted: Reply,
    why: str,
    draws: Sequence[float] = (1.0,),
    **named: float,
) -> None:
    """Asks a service that gives `answers`; expects these waits in s, and the wanted reply."""
    service, found, left = _Service(*answers), [], list(draws)

    def draw() -> float:
        return left.pop(0) if len(left) > 1 else left[0]

    with saying(given):
        result = attempt(function, service, found.append, draw, **named)
        result = expect_type(result, tuple, "ask_patiently")
        same = len(found) == len(waits)
        same = same and all(map(partial(math.isclose, abs_tol=1e-9), found, waits))
        expect(
            same and service.asked == len(waits) + 1 and result == wanted,
            f"it asked {service.asked} times, waited {_listed(found)} s between and returned "
            f"{result!r}, not {len(waits) + 1} times, {_listed(waits)} s and {wanted!r}: {why}. "
            "(Unless given, draw() = 1 and first = 0.25.)",
        )


def _listed(numbers: list[float]) -> str:
    shown = [f"{number:g}" for number in numbers[:8]]
    return ", ".join(shown + ["..."] * (len(numbers) > 8)) or "0"


@check
def percentile_latency(function: Answer) -> str:
    """Waiting before the request was sent counts, failures count, and the rank is exact."""

    def returns(wanted: float, what: str, why: str, requests: list[tuple], *percent: int) -> None:
        given = f"with {what}, {percent[0] if percent else 'no'} percent"
        expect_result(function, (requests, *percent), wanted, why, given)

    rank = "sort; the rank is the share of the count, rounded up, and ranks start at 1"
    steady = [(float(i), float(i), i + 0.25) for i in range(20)]
    late = [(float(i), i + 3.0, i + 3.25) for i in range(20)]
    lost = [(0.0, 0.0, 0.5)] * 18 + [(1.0, 1.0, None)] * 2
    returns(0.25, "20 requests of 0.25 s each", rank, steady, 95)
    why = "the user waits from the moment when the request should have been sent"
    returns(3.25, "20 requests that were sent 3 s late and took 0.25 s more", why, late, 95)
    many = [[(0.0, 0.0, float(i)) for i in range(count, 0, -1)] for count in (20, 100, 1000)]
    for wanted, percent in ((19, 95), (10, 50), (20, 100), (20, 99), (1, 1), (1, 5), (2, 6)):
        returns(float(wanted), "20 requests that took 20 to 1 s", rank, many[0], percent)
    for percent in (7, 14, 28, 55, 56):
        why = "0.07 is not an exact number for a computer: multiply before you divide"
        returns(float(percent), "100 requests that took 100 to 1 s", why, many[1], percent)
    returns(950.0, "1000 requests that took 1000 to 1 s", rank, many[2], 95)
    why = "a missing answer is infinitely late: if you leave it out, a service that drops slow "
    why += "requests looks fast"
    returns(math.inf, "18 requests of 0.5 s and 2 that were never answered", why, lost, 95)
    returns(0.5, "18 requests of 0.5 s and 2 that were never answered", why, lost, 90)
    returns(0.5, "a request of 0.5 s, answered at 0 s", "0 is a time", [(-0.5, -0.5, 0.0)], 95)
    returns(95.0, "100 requests that took 100 to 1 s", "the default is 95", many[1])
    return "late and lost requests count, and the percentile is exact."
