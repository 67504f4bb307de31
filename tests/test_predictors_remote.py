"""RemotePredictor against services that work, that are busy, broken, slow or none at all: it gives
the service's text or a sentence, and never waits longer than it may."""

import base64
import email.utils
import io
import itertools
import json
import multiprocessing
import os
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest
from bad_requests import png as page
from conftest import until
from hostile_images import encoded
from PIL import Image
from tunnel_serving import write_certificate

from lab_utils.net import NetworkError
from lab_utils.predictors import PredictorError, RemotePredictor, RequestRefusedError, remote
from lab_utils.predictors.retrying import Clock
from lab_utils.service.gateway import Gateway, InProcessFunction
from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.errors import ImageError
from text_recognizer.paragraph_text_recognizer import Line

GOOD = json.dumps({"pred": "the text"})
PAGE = page(60, 40)


def answer(body: str | bytes = GOOD, status: int = 200, length: int | None = None, **headers):
    """The bytes of an HTTP answer; `length` overrides its true Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    # RawServer closes: kept and asked again at once, the connection would break.
    length = len(body) if length is None else length
    headers = {"Content-Length": length, "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def sends(*answers: bytes):
    """Answers with one after the other, the last one again and again."""
    rest = itertools.chain(answers, itertools.repeat(answers[-1]))

    def reply(connection, _request):
        connection.sendall(next(rest))

    return reply


class FakeClock(Clock):
    """Sleeps take no time but are written down; every wait is drawn as long as it may be."""

    def __init__(self) -> None:
        waits: list[float] = []
        super().__init__(
            lambda: sum(waits), waits.append, lambda: 1.8e9, lambda low, high: low + high
        )
        object.__setattr__(self, "waits", waits)


@pytest.fixture
def service(stand_in, stand_in_path, monkeypatch):
    """The lab's own service in this process; `events` holds what has reached it."""
    monkeypatch.setattr(stand_in, "allow_private_addresses", True)
    handler, events = LambdaHandler(stand_in, stand_in_path, log=str), []

    def answer_event(event: dict) -> dict:
        events.append(event)
        return handler(event)

    with Gateway([InProcessFunction(answer_event)]) as gateway:
        gateway.events = events
        yield gateway


def failure(url: str, kind: type[Exception] = PredictorError, **options) -> str:
    """The message of the error that reading a page ends in."""
    with pytest.raises(kind) as error:
        RemotePredictor(url, **{"retries": 0, "timeout": 5, **options}).predict(PAGE)
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message
    assert isinstance(error.value, RequestRefusedError) == (kind is RequestRefusedError)
    return message


def flat(line: Line) -> list[float]:
    return [line.confidence, line.height, *line.box, *itertools.chain(*line.path)]


def test_remote_and_local_read_the_same(service, stand_in, serve):
    photo = encoded(Image.open(io.BytesIO(page(200, 90))), "JPEG", turn=8)
    sources = [
        PAGE,
        photo,
        base64.b64encode(photo).decode(),
        Image.open(io.BytesIO(photo)),
        Image.open(io.BytesIO(page(3300, 2000))),
        Image.new("L", (30, 30), 255),
    ]
    with RemotePredictor(service.url) as predictor:
        for source in sources:
            assert predictor.predict(source) == stand_in.predict(source)
            far, near = predictor.read(source), stand_in.read(source)
            assert far.text == near.text
            # A scaled page's coordinates are rounded to 0.1 px of its own first.
            expected = [pytest.approx(flat(line), abs=0.2) for line in near.lines]
            assert [flat(line) for line in far.lines] == expected
            assert (far.width, far.height, far.note) == (near.width, near.height, near.note)
            assert [line.block for line in far.lines] == [line.block for line in near.lines]
        url = f"{serve(PAGE).url}/page.png"
        assert predictor.predict(url) == stand_in.predict(PAGE)


def test_what_is_sent(service):
    RemotePredictor(f"{service.url}/a b?key=ü").predict(PAGE)
    RemotePredictor(service.url).read(PAGE)
    with pytest.raises(ImageError, match="was not found"):
        RemotePredictor(service.url).predict("no/such/page.png")
    text, lines = service.events
    assert (text["rawPath"], text["rawQueryString"]) == ("/a%20b", "key=%C3%BC")
    assert text["headers"]["host"] == service.url.split("/")[2]
    assert text["headers"]["content-type"] == "application/json"
    assert json.loads(text["body"]) == {"image": base64.b64encode(PAGE).decode()}
    assert json.loads(lines["body"])["lines"] is True


def test_threads_share_a_predictor_and_its_connections_without_mixing_texts(service):
    sizes = [(40 + i, 30) for i in range(12)]
    with RemotePredictor(service.url) as predictor, ThreadPoolExecutor(3) as threads:
        texts = list(threads.map(lambda size: predictor.predict(page(*size)), sizes))
        found = psutil.Process().net_connections("tcp")
        assert 1 <= sum(bool(one.raddr) and one.raddr.port == service.port for one in found) <= 3
    assert [text.split("\n")[0] for text in texts] == [f"{w}x{h}" for w, h in sizes]


def in_a_thread(call, *arguments) -> Future:
    """What hangs there is a failure, and no test run without an end."""
    future = Future()

    def work():
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def test_closed_predictors_and_forks_never_wait_for_ever(serve):
    server = serve(lambda connection, _request: connection.recv(1))
    predictor = RemotePredictor(server.url)
    waiting = in_a_thread(predictor.predict, PAGE)
    assert until(lambda: server.requests)
    for _ in range(2):
        in_a_thread(predictor.close).result(20)
    for one in (waiting, in_a_thread(predictor.predict, PAGE)):
        with pytest.raises(NetworkError, match=r"closed; make a new one\.$"):
            one.result(20)
    predictor = RemotePredictor(serve(sends(answer())).url)
    assert predictor.predict(PAGE) == "the text"
    child = multiprocessing.get_context("fork").Process(target=predictor.predict, args=[PAGE])
    child.start()
    child.join(20)
    try:
        assert child.exitcode == 0
    finally:
        child.kill()
    assert predictor.predict(PAGE) == "the text"


NOT_JSON = "something other than a JSON object"
NO_TEXTS = {
    "proxy's page": (answer("<html>Welcome</html>", Content_Type="text/html"), "text/html"),
    "deep": (answer("[" * 200_000), NOT_JSON),
    "Lambda's exception": (answer('{"errorType": "ValueError"}'), "another form"),
    "half a character": (answer('{"pred": "\\ud800"}'), "another form"),
    "a redirect": (answer("", 308, Location="http://127.0.0.1:9"), "308 Permanent Redirect; check"),
    "fault with a text": (answer(GOOD, 500), "status 500 Internal Server Error"),
    "time-out": (answer('{"error": "too slow"}', 504), "ran out of its time"),
}


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_answer_is_never_a_text(serve, name):
    data, words = NO_TEXTS[name]
    server = serve(sends(data))
    message = failure(server.url, retries=3, clock=FakeClock())
    assert words in message and server.url in message
    assert len(server.requests) == 1  # the same would come again
    with pytest.raises(PredictorError, match="another form"):  # it has no lines
        RemotePredictor(serve(sends(answer())).url).read(PAGE)


def test_a_huge_answer_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(remote, "MAX_ANSWER_BYTES", 100_000)
    sent = []

    def endless(connection, _request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent.append(65536)

    assert "sent more than 0.1 MB" in failure(serve(endless).url)
    assert sum(sent) < 20_000_000


def test_4xx_are_the_requests_fault_with_the_services_sentence(serve, service):
    server = serve(sends(answer('{"error": "Send  a\\nsmaller\\u001b[31m image."}', 422)))
    message = failure(server.url, RequestRefusedError, retries=3, clock=FakeClock())
    assert message == "Send a smaller image."
    assert len(server.requests) == 1
    server = serve(sends(answer("<h1>nginx</h1>", 403)))
    words = "status 403 Forbidden; check the address"
    assert words in failure(server.url, RequestRefusedError)
    with pytest.raises(RequestRefusedError, match="is damaged or cut off; save or copy it"):
        RemotePredictor(service.url).predict(PAGE[:80])


def test_busy_services_are_asked_again_after_growing_waits(serve):
    clock = FakeClock()
    server = serve(sends(*(answer("", status) for status in (429, 502, 503)), answer()))
    assert RemotePredictor(server.url, clock=clock).predict(PAGE) == "the text"
    assert clock.waits == [0.25, 0.5, 1.0]


def test_retries_end_by_their_number_or_by_the_time(serve):
    server = serve(sends(answer("", 503)))
    message = failure(server.url, retries=3, clock=FakeClock())
    assert len(server.requests) == 4
    assert "busy or restarting (status 503 Service Unavailable), 4 times in a row" in message
    assert message.endswith("try again later.")
    clock = FakeClock()
    failure(server.url, retries=1000, timeout=60, clock=clock)
    assert 40 < sum(clock.waits) < 60 and max(clock.waits) == 8


def test_retry_after_is_waited_for(serve):
    date = email.utils.formatdate(1.8e9 + 20, usegmt=True)
    for value, expected in (("1.5", 1.5), (date, 20.0), ("-3", 0.0), ("soon", 0.0), ("1e400", 0)):
        clock = FakeClock()
        server = serve(sends(answer("", 429, Retry_After=value), answer()))
        assert RemotePredictor(server.url, clock=clock).predict(PAGE) == "the text"
        assert clock.waits == [expected + 0.25]
    clock = FakeClock()
    server = serve(sends(answer("", 503, Retry_After="3600")))
    assert "try again in 3600 s" in failure(server.url, clock=clock, retries=5)
    assert clock.waits == [] and len(server.requests) == 1


def test_nobody_there_is_said_with_the_address_but_not_its_key():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/path?key=secret"
    for address in (url, "http://no-such-host.invalid/path?key=secret"):
        message = failure(address, retries=2, clock=FakeClock())
        assert "could not be reached" in message and "3 times in a row; check the" in message
        assert "/path" in message and "secret" not in message


BROKEN_OFF = {
    "at once": b"",
    "within the body": answer(GOOD, length=500),
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_connection_that_breaks_off_is_tried_again(serve, name):
    clock = FakeClock()
    server = serve(sends(BROKEN_OFF[name], answer(), BROKEN_OFF[name]))
    assert RemotePredictor(server.url, clock=clock).predict(PAGE) == "the text"
    assert clock.waits == [0.25]
    assert "2 times in a row" in failure(server.url, retries=1, clock=clock)


def test_the_time_limit_holds_over_all_bytes_together(serve):
    def drips(connection, _request):
        for byte in answer(" " * 10_000 + GOOD):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    server = serve(drips)
    message = failure(server.url, timeout=0.4, retries=3)
    assert "did not answer within 0.4 s" in message
    assert len(server.requests) == 1


def test_a_connection_that_never_comes_is_given_up(monkeypatch):
    """As behind a firewall that drops packets, or a name server that does not answer."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [][: over.wait(30)])
    options = {"connect_timeout": 0.2, "retries": 2, "clock": FakeClock()}
    message = failure("http://slow.example/", **options)
    over.set()
    assert "made no connection in time, 3 times in a row" in message


def test_ctrl_c_ends_a_wait(serve):
    def hangs(connection, _request):
        connection.recv(1)

    server = serve(hangs)
    predictor = RemotePredictor(server.url)

    def press() -> None:
        assert until(lambda: server.requests)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=press, daemon=True).start()
        predictor.predict(PAGE)
        time.sleep(30)


def test_https_certificates_are_verified(serve, tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = tmp_path / "certificate.pem"
    write_certificate(certificate, "model.tunnel.localhost")
    context.load_cert_chain(certificate)
    server = serve(
        sends(answer()), wrap=lambda connection: context.wrap_socket(connection, server_side=True)
    )
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _host, *args, **kwargs: real("127.0.0.1", *args, **kwargs)
    )
    url = f"https://model.tunnel.localhost:{server.port}/"
    message = failure(url, retries=3, clock=FakeClock())
    assert "self-signed certificate" in message and "check the address" in message
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    predictor = RemotePredictor(url)
    assert [predictor.predict(PAGE) for _ in range(2)] == ["the text"] * 2
    assert "Hostname mismatch" in failure(f"https://other.example:{server.port}/")


def test_wrong_addresses_and_limits_are_refused_at_once():
    for url in ("", "model.example", "file:///etc/passwd", "http://host:0/", "http://[::1/", None):
        with pytest.raises(PredictorError, match="give one like"):
            RemotePredictor(url)
    with pytest.raises(PredictorError, match="user name or password") as error:
        RemotePredictor("https://user:hunter2@model.example/")
    assert "hunter2" not in str(error.value)
    for options in ({"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}):
        with pytest.raises(PredictorError, match="positive"):
            RemotePredictor("http://host/", **options)
