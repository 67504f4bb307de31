"""The gate before the app: who gets in, what the app is told, and that nothing is held back."""

import base64
import contextlib
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import free_port
from tunnel_serving import until

from lab_utils.middleware import RequestLimits
from lab_utils.tunnel.gate import MARK, Gate
from lab_utils.tunnel.login import Login

NAME = "lab.example.org"
LOGIN = Login("ada", "pass:wörd")
RIGHT = "Basic " + base64.b64encode("ada:pass:wörd".encode()).decode()
WRONG = "Basic " + base64.b64encode(b"ada:guess").decode()


@contextlib.contextmanager
def gate_before(port: int, login: Login | None = LOGIN, url: str = f"https://{NAME}"):
    gate = Gate(port, login)
    gate.start()
    gate.open_to(url)
    try:
        yield gate
    finally:
        gate.stop()


@pytest.fixture
def gate(serve):
    """A gate before a server that answers "app" and keeps the requests."""
    server = serve(b"app")
    with gate_before(server.port) as gate:
        gate.requests = server.requests
        yield gate


def ask(gate, method="GET", path="/", body=None, **headers) -> http.client.HTTPResponse:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers = {"Host": NAME, "Authorization": RIGHT} | headers
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
    connection.request(
        method, path, body, {name: value for name, value in headers.items() if value is not None}
    )
    return connection.getresponse()


def told(gate) -> dict[str, str]:
    """The headers that the app got last, by names in lower case."""
    lines = gate.requests[-1].decode().split("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


# Who gets in


def test_a_visitor_with_the_password_gets_the_app(gate):
    answer = ask(gate)
    assert (answer.status, answer.read()) == (200, b"app")
    assert answer.headers[MARK] == gate.mark


@pytest.mark.parametrize(
    "given",
    [None, "", "Basic", "Basic !!", WRONG, "Bearer x", "Basic " + "A" * 9000],
)
def test_without_the_password_nothing_reaches_the_app(gate, given):
    answer = ask(gate, Authorization=given)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.headers[MARK] == gate.mark, "the link itself leads here"
    assert b"ada" not in answer.read()
    assert gate.requests == []


def test_each_request_of_a_connection_is_asked_for_the_password(gate):
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
    asked = [("GET", RIGHT, 200), ("GET", WRONG, 401), ("HEAD", WRONG, 401), ("GET", RIGHT, 200)]
    for method, header, status in asked:
        connection.request(method, "/", headers={"Host": NAME, "Authorization": header})
        answer = connection.getresponse()
        assert answer.status == status
        assert (answer.read() == b"") == (method == "HEAD")
        assert connection.sock is not None, "the same connection"
    assert len(gate.requests) == 2


def test_many_requests_at_once_and_after_each_other_all_arrive_whole(serve):
    """The gate looks out for a visitor who leaves; it must not take the next request for that."""

    def echo(connection, request):
        head, _, body = request.partition(b"\r\n\r\n")
        size = int(dict(line.split(b": ") for line in head.split(b"\r\n")[1:])[b"content-length"])
        while len(body) < size:
            body += connection.recv(2**20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body))

    def visit(number: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
        headers = {"Host": NAME, "Authorization": RIGHT}
        for size in range(40):
            body = bytes([number]) * (1 + 5000 * size)
            connection.request("POST", "/", body, headers)
            if connection.getresponse().read() != body:
                return False
        return True

    with gate_before(serve(echo).port) as gate, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(visit, range(8)))


def test_an_open_link_passes_the_apps_own_login_on(serve):
    server = serve(b"app")
    with gate_before(server.port, login=None) as gate:
        gate.requests = server.requests
        assert ask(gate, Authorization=WRONG).status == 200
        assert told(gate)["authorization"] == WRONG


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost", "", NAME + ".evil.org"])
def test_another_name_is_refused(gate, host):
    """A page of another site could make a name of its own lead to this machine."""
    assert ask(gate, Host=host).status == 403
    assert gate.requests == []


def test_before_the_address_is_known_nobody_gets_in(serve):
    server = serve(b"app")
    gate = Gate(server.port, None)
    gate.start()
    try:
        assert ask(gate).status == 503
    finally:
        gate.stop()


# What the app is told


def test_the_app_is_asked_under_its_own_address(gate):
    spoof = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=x"}
    ask(gate, path="/a%20b?c=d", Origin=f"https://{NAME}", Cookie="a=b", **spoof)
    assert gate.requests[-1].startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
    headers = told(gate)
    own = headers["host"]
    assert own.startswith("127.0.0.1:") and headers["origin"] == f"http://{own}"
    assert headers["x-forwarded-host"] == NAME and headers["x-forwarded-proto"] == "https"
    assert headers["cookie"] == "a=b"
    assert not {"authorization", "forwarded"} & set(headers)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"http://{NAME}", f"https://{NAME}.evil.org", "null", "own"]
)
def test_another_sites_origin_does_not_pass_for_the_apps(gate, origin):
    """Not even that of a page on the visitor's own machine, at the port that the app has here."""
    ask(gate, "POST", body=b"x")
    app = told(gate)["host"]
    ask(gate, "POST", body=b"x", Origin=f"http://{app}" if origin == "own" else origin)
    assert told(gate)["origin"] == "null"


def test_the_apps_limits_take_the_links_pages_and_refuses_others():
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from lab_utils.net import LocalServer

    async def page(request):
        return PlainTextResponse(str(request.base_url))

    page_app = Starlette(routes=[Route("/", page, methods=["GET", "POST"])])
    app = RequestLimits(page_app, most_bytes=1000)
    listening = socket.create_server(("127.0.0.1", 0))
    server = LocalServer("app", "", app, listening, RuntimeError)
    server.start()
    try:
        with gate_before(listening.getsockname()[1]) as gate:
            assert ask(gate, "POST", body=b"x", Origin=f"https://{NAME}").status == 200
            assert ask(gate, "POST", body=b"x", Origin="https://evil.example").status == 403
            assert ask(gate).read().startswith(b"https://127.0.0.1:")
    finally:
        server.stop()


def test_a_redirect_to_the_apps_own_address_leads_to_the_link(serve):
    server = serve(lambda connection, _: connection.sendall(moved))
    moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{server.port}/x\r\n\r\n".encode()
    with gate_before(server.port) as gate:
        assert ask(gate).headers["Location"] == f"https://{NAME}/x"


def test_a_request_with_two_lengths_reaches_the_app_as_one_or_not_at_all(gate):
    """Else the rest of a body would be read as a request that nobody was asked a password for."""
    smuggled = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST / HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {RIGHT}\r\n"
    head += f"Content-Length: {len(smuggled) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as connection:
        connection.sendall(head.encode("latin-1") + b"0\r\n\r\n" + smuggled)
        answer = connection.recv(65536)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert all(b"/secret" not in request for request in gate.requests)
    assert all(b"content-length" not in request.lower() for request in gate.requests)


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"G" * 100_000])
def test_what_is_no_http_is_refused_and_the_next_visitor_served(gate, junk):
    with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as connection:
        connection.sendall(junk + b"\r\n\r\n")
        answer = connection.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert ask(gate).status == 200


# Nothing is held back


def test_events_pass_one_by_one_and_a_visitor_who_leaves_is_noticed(serve):
    go, left = threading.Event(), threading.Event()

    def stream(connection, _request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.sendall(b"data: 1\n\n")
        assert go.wait(20)
        connection.sendall(b"data: 2\n\n")
        if connection.recv(1) == b"":
            left.set()

    server = serve(stream)
    with gate_before(server.port) as gate:
        answer = ask(gate)
        assert answer.readline() + answer.readline() == b"data: 1\n\n"
        go.set()
        assert answer.readline() + answer.readline() == b"data: 2\n\n"
        answer.close()
        assert left.wait(20)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_passes_while_it_comes(serve, framing):
    came, all_of_it = threading.Event(), threading.Event()
    size = 3 * 2**20

    def take(connection, request):
        came.set()
        body = bytearray(request.partition(b"\r\n\r\n")[2])
        while len(body) < size or (framing == "chunked" and not body.endswith(b"0\r\n\r\n")):
            body += connection.recv(2**20)
        all_of_it.set()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def pieces():
        yield b"x" * 2**20
        assert came.wait(20), "the first piece waited for the last one"
        yield b"x" * 2**21

    server = serve(take)
    length = {"Content_Length": str(size)} if framing == "length" else {}
    with gate_before(server.port) as gate:
        answer = ask(gate, "POST", body=pieces(), **length)
        assert (answer.status, answer.read()) == (200, b"ok")
    assert all_of_it.is_set()


def test_a_refusal_comes_through_while_the_visitor_still_sends(serve):
    def refuse(connection, _request):
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    with gate_before(serve(refuse).port) as gate:
        answer = ask(gate, "POST", body=b"x" * (8 * 2**20))
        assert (answer.status, answer.read()) == (413, b"no")


def test_another_protocol_passes_both_ways(serve):
    def echo(connection, _request):
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\nhello"
        )
        while data := connection.recv(100):
            connection.sendall(data.upper())

    server = serve(echo)
    with (
        gate_before(server.port) as gate,
        socket.create_connection(("127.0.0.1", gate.port), timeout=20) as connection,
    ):
        connection.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {RIGHT}\r\n"
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nfirst".encode("latin-1")
        )
        got = b""
        while not got.endswith(b"helloFIRST"):
            piece = connection.recv(1000)
            assert piece, got
            got += piece
        assert got.startswith(b"HTTP/1.1 101") and b"websocket" in got
        connection.sendall(b"second")
        assert connection.recv(100) == b"SECOND"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert b"upgrade: websocket" in server.requests[0].lower()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_ends(serve, method):
    server = serve(lambda c, _: c.sendall(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"))
    with gate_before(server.port) as gate:
        answer = ask(gate, method)
        assert (answer.status, answer.read(), answer.headers["ETag"]) == (304, b"", "x")


# A dead app


def test_a_dead_app_is_told_from_a_dead_link():
    with gate_before(free_port()) as gate:
        answer = ask(gate)
    assert answer.status == 502 and answer.headers[MARK] == gate.mark
    assert b"not running" in answer.read()


def test_an_app_that_breaks_off_gives_no_half_answer(serve):
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    with gate_before(serve(lambda c, _: c.sendall(begun)).port) as gate:
        answer = ask(gate)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    with gate_before(serve(lambda *_: None).port) as gate:
        assert ask(gate).status == 502


def test_a_gate_that_stops_ends_its_connections(serve):
    never = threading.Event()
    server = serve(lambda *_: never.wait(20))
    with gate_before(server.port) as gate:
        connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=20)
        connection.request("GET", "/", headers={"Host": NAME, "Authorization": RIGHT})
        assert until(lambda: server.requests)
        start = time.monotonic()
        gate.stop()
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
    assert time.monotonic() - start < 5
    never.set()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", gate.port), timeout=5)
