"""RemotePredictor against services that work, that are busy, broken, slow or none at all: it gives
the service's text or a sentence, and never waits longer than it was told."""

import base64
import email.utils
import io
import itertools
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bad_requests import png
from hostile_images import encoded
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tunnel_serving import write_certificate

from lab_utils.net import LocalServer, keep_local_direct, listening_socket
from lab_utils.predictors import RemotePredictor, remote
from lab_utils.predictors.errors import (
    RequestRefusedError,
    ServiceAddressError,
    ServiceBusyError,
    ServiceError,
    ServiceFailedError,
    ServiceTimeoutError,
    ServiceUnreachableError,
)
from lab_utils.predictors.retrying import Clock
from lab_utils.service import schema
from text_recognizer.errors import ImageError, RecognizerError
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer

GOOD = json.dumps({"pred": "the text"})


def page(width: int = 60, height: int = 40) -> bytes:
    return png(width, height)


def answer(body: str | bytes = GOOD, status: int = 200, length: int | None = None, **headers):
    """The bytes of an HTTP answer; `length` overrides its true Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    # RawServer closes: kept and asked again at once, the connection would break.
    length = len(body) if length is None else length
    headers = {"Content-Length": length, "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def read_body(connection: socket.socket, request: bytes) -> dict:
    """The whole request's JSON; what is left unread would break the connection off."""
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return json.loads(body)


def sends(*answers: bytes):
    """Answers with one after the other, the last one again and again."""
    rest = itertools.chain(answers, itertools.repeat(answers[-1]))

    def reply(connection, request):
        read_body(connection, request)
        connection.sendall(next(rest))

    return reply


class FakeClock(Clock):
    """Sleeps take no time but are written down; every wait is drawn as long as it may be."""

    def __init__(self, during=lambda _: None) -> None:
        self.waits: list[float] = []
        self.passed = 0.0

        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.passed += seconds
            during(len(self.waits))

        super().__init__(
            monotonic=lambda: self.passed,
            sleep=sleep,
            now=lambda: 1.8e9,
            uniform=lambda low, high: low + high,
        )

    __setattr__ = object.__setattr__


@pytest.fixture(scope="module")
def recognizer(stand_in_path):
    return ParagraphTextRecognizer(stand_in_path)


class Service(Starlette):
    """A model service with nothing but the wire's format and a recognizer."""

    def __init__(self, recognizer) -> None:
        super().__init__(routes=[Route("/{path:path}", self.answer, methods=["POST"])])
        self.recognizer, self.connections, self.requests = recognizer, set(), []

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.body()
        path = request.scope["raw_path"].decode() + f"?{request.url.query}"
        self.requests.append((path, request.headers, body))
        self.connections.add(request.client)
        try:
            question = schema.parse_request(body)
            sources = schema.image_sources(question, allow_private_addresses=True)
            status = 200
            document = schema.encode_answer(question, self.recognizer.read_batch(sources))
        except RecognizerError as error:
            status, document = schema.error_answer(error)
        return JSONResponse(document, status)


@pytest.fixture
def service(recognizer):
    service = Service(recognizer)
    listening = listening_socket()
    service.url = f"http://127.0.0.1:{listening.getsockname()[1]}/read"
    server = LocalServer("service", service.url, service, listening, ServiceError)
    server.start()
    yield service
    server.stop()


def failure(url: str, kind: type[Exception], **options) -> str:
    """The message of the error that reading a page ends in."""
    with pytest.raises(kind) as error:
        RemotePredictor(url, **{"retries": 0, "timeout": 5, **options}).predict(page())
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message
    return message


def flat(line: Line) -> list[float]:
    return [line.confidence, line.height, *line.box, *itertools.chain(*line.path)]


def test_remote_and_local_read_the_same(service, recognizer, serve):
    exif = Image.Exif()
    exif[0x0112] = 8
    photo = encoded(Image.open(io.BytesIO(page(200, 90))), "JPEG", exif=exif)
    text = base64.b64encode(photo).decode()
    sources = [
        page(),
        photo,
        text,
        f"data:image/jpeg;base64,{text}",
        Image.open(io.BytesIO(photo)),
        Image.open(io.BytesIO(page(3300, 2000))),
        Image.new("L", (30, 30), 255),
    ]
    with RemotePredictor(service.url) as predictor:
        for source in sources:
            assert predictor.predict(source) == recognizer.predict(source)
            far, near = predictor.read(source), recognizer.read(source)
            assert far.text == near.text
            assert [flat(line) for line in far.lines] == [
                # A scaled page's coordinates are rounded to 0.1 px of its own first.
                pytest.approx(flat(line), abs=0.2)
                for line in near.lines
            ]
            assert (far.width, far.height, far.note) == (near.width, near.height, near.note)
            assert [line.block for line in far.lines] == [line.block for line in near.lines]
            assert 0 < far.seconds < 10
        picture = serve(page())
        assert predictor.predict(f"{picture.url}/page.png") == recognizer.predict(page())


def test_what_is_sent(service):
    RemotePredictor(f"{service.url}/a b?key=ü").predict(page())
    path, headers, body = service.requests[0]
    assert path == "/read/a%20b?key=%C3%BC"
    assert headers["Host"] == service.url.split("/")[2]
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"image": base64.b64encode(page()).decode()}
    RemotePredictor(service.url).read(page())
    assert json.loads(service.requests[1][2])["lines"] is True


def test_connections_are_kept_and_shared_by_threads_without_mixing_texts(service):
    predictor = RemotePredictor(service.url)
    sizes = [(40 + i, 30) for i in range(60)]
    with ThreadPoolExecutor(6) as threads:
        texts = list(threads.map(lambda size: predictor.predict(page(*size)), sizes))
    assert [text.split("\n")[0] for text in texts] == [f"{w}x{h}" for w, h in sizes]
    assert 1 <= len(service.connections) <= 6
    predictor.close()
    predictor.predict(page())
    assert len(service.connections) <= 7


def test_what_is_local_is_asked_without_the_proxy(service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    assert RemotePredictor(service.url).predict(page())
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.setenv("no_proxy", "")
    keep_local_direct()
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"


def test_a_forked_process_makes_connections_of_its_own(service, monkeypatch):
    predictor = RemotePredictor(service.url)
    predictor.predict(page())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    predictor.predict(page())
    assert len(service.connections) == 2


def test_a_kept_connection_that_the_service_closed_costs_no_wait(serve):
    clock = FakeClock()
    server = serve(sends(answer()))  # a RawServer closes after each answer
    predictor = RemotePredictor(server.url, clock=clock)
    for _ in range(5):
        assert predictor.predict(page()) == "the text"
    assert clock.waits == [] and len(server.requests) == 5


NOT_JSON = "something other than a JSON object"
NO_TEXTS = {
    "proxy's page": (answer("<html>Welcome</html>", Content_Type="text/html"), "text/html"),
    "half JSON": (answer(GOOD[:-4]), NOT_JSON),
    "nothing": (answer(""), "0 bytes"),
    "list": (answer(f"[{GOOD}]"), NOT_JSON),
    "NaN": (answer('{"pred": "a", "seconds": NaN}'), NOT_JSON),
    "not UTF-8": (answer(b'{"pred": "\xff"}'), NOT_JSON),
    "deep": (answer("[" * 200_000), NOT_JSON),
    "no text": (answer('{"text": "the text"}'), "another form"),
    "number": (answer('{"pred": 17}'), "another form"),
    "half a character": (answer('{"pred": "\\ud800"}'), "halves of characters"),
    "redirect": (answer(GOOD, 302, Location="http://elsewhere/"), "redirects to http://elsewhere"),
    "no content": (answer("", 204), "status 204"),
    "fault with a text": (answer(GOOD, 500), "status 500 Internal Server Error"),
    "other protocol": (b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "does not speak HTTP"),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 40_000, "does not speak HTTP"),
    "Lambda's exception": (
        answer('{"errorMessage": "boom", "errorType": "ValueError", "pred": "a"}'),
        "failed inside with ValueError",
    ),
    "fault of a direct call": (answer('{"error": "It failed.", "status": 500}'), "status 500"),
}


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_answer_is_never_a_text(serve, name):
    data, words = NO_TEXTS[name]
    server = serve(sends(data))
    message = failure(server.url, ServiceFailedError, retries=3, clock=FakeClock())
    assert words in message and server.url in message
    assert len(server.requests) == 1  # the same would come again


def test_a_reading_of_another_form_is_refused(serve):
    with pytest.raises(ServiceFailedError, match="another form"):
        RemotePredictor(serve(sends(answer())).url).read(page())


def test_a_redirect_is_not_followed(serve):
    other = serve(sends(answer()))
    for status in (303, 308):
        server = serve(sends(answer("", status, Location=other.url)))
        failure(server.url, ServiceFailedError)
    assert other.requests == []


def test_a_huge_answer_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(remote, "MAX_ANSWER_BYTES", 100_000)
    sent = []

    def endless(connection, request):
        read_body(connection, request)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent.append(65536)

    assert "sent more than 0.1 MB" in failure(serve(endless).url, ServiceFailedError)
    assert sum(sent) < 20_000_000


def test_the_services_own_sentence_reaches_the_caller(service):
    with pytest.raises(RequestRefusedError, match="is damaged or cut off; save or copy it"):
        RemotePredictor(service.url).predict(page()[:80])
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [400, 408, 422])
def test_other_4xx_are_the_requests_fault_and_not_repeated(serve, status):
    server = serve(sends(answer('{"error": "Send  a\\nsmaller\\u001b[31m image."}', status)))
    message = failure(server.url, RequestRefusedError, retries=3, clock=FakeClock())
    assert message == "Send a smaller [31m image."
    assert len(server.requests) == 1
    server = serve(sends(answer("<h1>nginx</h1>", status)))
    message = failure(server.url, RequestRefusedError)
    assert f"status {status}" in message and "check the address" in message


def test_errors_of_a_function_that_is_invoked_directly(serve):
    for document in ({"status": 400}, {"pred": "a"}):
        refused = answer(json.dumps(document | {"error": "Send one image."}))
        assert failure(serve(sends(refused)).url, RequestRefusedError) == "Send one image."
    busy = answer('{"error": "Busy.", "status": 503}')
    predictor = RemotePredictor(serve(sends(busy, answer())).url, clock=FakeClock())
    assert predictor.predict(page()) == "the text"


def test_a_missing_permission_is_told_and_a_long_message_cut(serve):
    message = failure(serve(sends(answer('{"Message": "x"}', 403))).url, RequestRefusedError)
    assert "asks for a permission (status 403 Forbidden)" in message
    long = answer(json.dumps({"error": "a" * 100_000}), 400)
    assert len(failure(serve(sends(long)).url, RequestRefusedError)) < 400


TIMED_OUT = {
    "status": answer('{"error": "too slow"}', 504),
    "gateway's page": answer("<html>", 504),
    "emulator": answer("2025-01-01T00:00:00Z abc Task timed out after 3.00 seconds\n\n"),
    "Lambda": answer('{"errorMessage": "2025-01-01 abc Task timed out after 3.00 seconds"}'),
}


@pytest.mark.parametrize("name", TIMED_OUT)
def test_a_time_out_in_the_service_is_told_and_not_repeated(serve, name):
    server = serve(sends(TIMED_OUT[name]))
    message = failure(server.url, ServiceTimeoutError, retries=3, clock=FakeClock())
    assert "ran out of its time" in message and len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503])
def test_busy_services_are_asked_again_after_growing_waits(serve, status):
    clock = FakeClock()
    busy = answer('{"error": "busy"}', status)
    server = serve(sends(*[busy] * 3, answer()))
    assert RemotePredictor(server.url, clock=clock).predict(page()) == "the text"
    assert clock.waits == [0.25, 0.5, 1.0]


def test_retries_end_and_the_error_says_how_many_there_were(serve):
    server = serve(sends(answer("", 503)))
    message = failure(server.url, ServiceBusyError, retries=3, clock=FakeClock())
    assert len(server.requests) == 4
    assert "busy or restarting (status 503 Service Unavailable), 4 times in a row" in message
    assert message.endswith("try again later.")
    server = serve(sends(answer("", 503)))
    assert "in a row" not in failure(server.url, ServiceBusyError)
    assert len(server.requests) == 1


def test_the_time_limit_ends_the_retries(serve):
    clock = FakeClock()
    server = serve(sends(answer("", 503)))
    failure(server.url, ServiceBusyError, retries=1000, timeout=60, clock=clock)
    assert 40 < clock.passed < 60
    assert clock.waits == [min(0.25 * 2**n, 8.0) for n in range(len(clock.waits))]


def test_retry_after_is_waited_for(serve):
    date = email.utils.formatdate(1.8e9 + 20, usegmt=True)
    for value, expected in (("7", 7.0), ("1.5", 1.5), (date, 20.0), ("-3", 0.0), ("soon", 0.0)):
        clock = FakeClock()
        server = serve(sends(answer("", 429, Retry_After=value), answer()))
        assert RemotePredictor(server.url, clock=clock).predict(page()) == "the text"
        assert clock.waits == [expected + 0.25]


def test_a_retry_after_beyond_the_time_limit_ends_at_once(serve):
    clock = FakeClock()
    for value, words in (("3600", "try again in 3600 s"), ("1e400", "try again later")):
        server = serve(sends(answer("", 503, Retry_After=value)))
        assert words in failure(server.url, ServiceBusyError, clock=clock, retries=0)
    server = serve(sends(answer("", 503, Retry_After="3600")))
    failure(server.url, ServiceBusyError, clock=clock, retries=5)
    assert clock.waits == [] and len(server.requests) == 1


def test_nobody_there_is_told_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/path?key=secret"
    message = failure(url, ServiceUnreachableError, retries=2, clock=FakeClock())
    assert "refuses connections, 3 times in a row; check the address" in message
    assert "/path" in message and "secret" not in message


BROKEN_OFF = {
    "at once": b"",
    "within the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "within the body": answer(GOOD, length=500),
    "within a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n"
    + GOOD.encode(),
}


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_connection_that_breaks_off_is_tried_again(serve, name):
    clock = FakeClock()
    server = serve(sends(BROKEN_OFF[name], BROKEN_OFF[name], answer()))
    assert RemotePredictor(server.url, clock=clock).predict(page()) == "the text"
    assert clock.waits == [0.25, 0.5]
    server = serve(sends(BROKEN_OFF[name]))
    message = failure(server.url, ServiceUnreachableError, retries=1, clock=clock)
    assert "broke the connection off, 2 times in a row" in message


def test_an_early_refusal_of_a_large_request_is_understood(serve):
    def refuse(connection, _request):
        connection.sendall(answer('{"error": "Send a smaller image."}', 413))

    large = encoded(Image.effect_noise((1500, 1500), 90), "PNG", compress_level=0)
    predictor = RemotePredictor(serve(refuse).url, retries=0)
    with pytest.raises(RequestRefusedError, match=r"^Send a smaller image\.$"):
        predictor.predict(large)


def drips(connection, request):
    read_body(connection, request)
    for byte in answer(" " * 10_000 + GOOD):
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def hangs(connection, request):
    read_body(connection, request)
    connection.recv(1)


@pytest.mark.parametrize("slow", [drips, hangs])
def test_the_time_limit_holds_over_all_bytes_together(serve, slow):
    server = serve(slow)
    start = time.monotonic()
    message = failure(server.url, ServiceTimeoutError, timeout=0.4, retries=3)
    assert 0.3 < time.monotonic() - start < 15
    assert "did not answer within 0.4 s" in message
    assert len(server.requests) == 1


def test_a_connection_that_never_comes_is_given_up(monkeypatch):
    """A listener whose queue is full answers no one, as a firewall that drops packets."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = {"connect_timeout": 0.2, "retries": 2, "clock": FakeClock()}
        message = failure(url, ServiceUnreachableError, **options)
    assert "made no connection in time, 3 times in a row" in message


def test_a_name_that_is_not_there_is_told_and_a_slow_look_up_left(monkeypatch):
    message = failure("http://no-such-host.invalid/", ServiceUnreachableError, clock=FakeClock())
    assert "was not found by its name" in message
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [][: over.wait(30)])
    start = time.monotonic()
    message = failure("http://slow.example/", ServiceUnreachableError, connect_timeout=0.2)
    over.set()
    assert time.monotonic() - start < 15 and "made no connection in time" in message


@pytest.mark.parametrize("where", ["answer", "wait"])
def test_ctrl_c_ends_a_wait(serve, where):
    server = serve(hangs if where == "answer" else sends(answer("", 503, Retry_After="30")))
    predictor = RemotePredictor(server.url)

    def press() -> None:
        deadline = time.monotonic() + 10
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=press, daemon=True).start()
        predictor.predict(page())
        time.sleep(30)
    assert time.monotonic() - start < 15


def test_https_certificates_are_verified(serve, tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = tmp_path / "certificate.pem"
    write_certificate(certificate)
    context.load_cert_chain(certificate)
    server = serve(
        sends(answer()), wrap=lambda connection: context.wrap_socket(connection, server_side=True)
    )
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _host, *args, **kwargs: real("127.0.0.1", *args, **kwargs)
    )
    url = f"https://model.tunnel.localhost:{server.port}/"
    message = failure(url, ServiceUnreachableError, retries=3, clock=FakeClock())
    assert "self-signed certificate" in message and "check the address" in message
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    predictor = RemotePredictor(url)
    assert [predictor.predict(page()) for _ in range(2)] == ["the text"] * 2
    message = failure(f"https://other.example:{server.port}/", ServiceUnreachableError)
    assert "Hostname mismatch" in message
    plain = serve(
        sends(answer()), wrap=lambda connection: connection.sendall(answer()) or connection
    )
    message = failure(plain.url.replace("http:", "https:"), ServiceUnreachableError)
    assert "does not speak TLS" in message


WRONG_ADDRESSES = {
    "": "begins with http",
    "model.example": "begins with http",
    "ftp://model.example/": "begins with http",
    "file:///etc/passwd": "begins with http",
    "http://": "not complete",
    "http:///path": "not complete",
    "http://host:99999/": "not complete",
    "http://host:0/": "not complete",
    "http://ho st/": "not complete",
    "http://[::1/": "not complete",
    "https://user:hunter2@model.example/": "user name or password",
}


@pytest.mark.parametrize("url", WRONG_ADDRESSES)
def test_wrong_addresses_are_refused_at_once_and_not_repeated_in_the_message(url):
    with pytest.raises(ServiceAddressError, match=WRONG_ADDRESSES[url]) as error:
        RemotePredictor(url)
    assert "hunter2" not in str(error.value)
    with pytest.raises(ServiceAddressError, match="not as NoneType"):
        RemotePredictor(None)


def test_wrong_limits_are_refused():
    for options in ({"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}):
        with pytest.raises(ServiceError, match="positive"):
            RemotePredictor("http://host/", **options)


def test_shown_addresses_hold_no_query():
    predictor = RemotePredictor("https://model.example/read?key=secret#part")
    assert repr(predictor) == "RemotePredictor('https://model.example/read')"
    assert RemotePredictor("http://[::1]:9000").address == "http://[::1]:9000/"


def test_what_is_no_image_reaches_no_service(service):
    with pytest.raises(ImageError, match="was not found"):
        RemotePredictor(service.url).predict("no/such/page.png")
    assert service.requests == []
