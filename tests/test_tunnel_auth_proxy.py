"""The authentication proxy: who gets in, what the app is sent, and that nothing is held back."""

import base64
import contextlib
import http.client
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import free_port, until

from lab_utils import logins
from lab_utils.logins import Login
from lab_utils.tunnel import auth_proxy, connections
from lab_utils.tunnel.auth_proxy import MARK, AuthProxy

NAME = "lab.example.org"
LOGIN = Login("ada", "pass:wörd")
RIGHT = "Basic " + base64.b64encode("ada:pass:wörd".encode()).decode()
WRONG = "Basic " + base64.b64encode(b"ada:guess").decode()


@contextlib.contextmanager
def proxy_before(port: int, login: Login | None = LOGIN):
    proxy = AuthProxy(port, login)
    proxy.start()
    proxy.open_to(f"https://{NAME}")
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def proxy(serve):
    """A proxy before a server that answers "app" and keeps the requests."""
    server = serve(b"app")
    with proxy_before(server.port) as proxy:
        proxy.requests = server.requests
        yield proxy


def connect(proxy) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)


def ask(proxy, method="GET", path="/", body=None, on=None, **headers) -> http.client.HTTPResponse:
    headers = {"Host": NAME, "Authorization": RIGHT} | headers
    connection = on or connect(proxy)
    given = {name: value for name, value in headers.items() if value is not None}
    connection.request(method, path, body, given)
    return connection.getresponse()


def sent_raw(proxy, data: bytes) -> bytes:
    """The beginning of the answer to some bytes."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(65536)
    return b""


def app_got(proxy) -> dict[str, str]:
    """The headers that the app got last, by names in lower case."""
    lines = proxy.requests[-1].decode().split("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


# Who gets in


@pytest.mark.parametrize("given", [None, "Basic !!"])
def test_without_the_password_nothing_reaches_the_app(proxy, given):
    answer = ask(proxy, Authorization=given)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.headers[MARK] == proxy.mark, "the link itself leads here"
    assert b"ada" not in answer.read()
    assert proxy.requests == []
    connection = connect(proxy)
    for header, status in ((RIGHT, 200), (WRONG, 401), (RIGHT, 200)):
        answer = ask(proxy, on=connection, Authorization=header)
        assert (answer.status, answer.headers[MARK]) == (status, proxy.mark)
        answer.read()


def test_guessers_wait_in_one_queue_and_who_is_logged_in_does_not(proxy, monkeypatch):
    """Else two hundred connections try hundreds of passwords a second."""
    checked = []
    is_in = Login.is_in
    monkeypatch.setattr(logins, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(logins, "MOST_WAIT_SECONDS", 1.0)
    monkeypatch.setattr(
        Login, "is_in", lambda self, header: checked.append(header) or is_in(self, header)
    )
    connection = connect(proxy)
    assert ask(proxy, on=connection).read() == b"app"
    with ThreadPoolExecutor(50) as threads:
        answers = [threads.submit(ask, proxy, Authorization=WRONG) for _ in range(50)]
        assert until(lambda: any(one.done() and one.result().status == 429 for one in answers))
        assert ask(proxy, on=connection).read() == b"app"
        found = [one.result() for one in answers]
    assert {one.status for one in found} == {401, 429}
    refused = next(one for one in found if one.status == 429)
    assert refused.headers["Retry-After"] and refused.headers[MARK]
    # One that finds the queue empty is checked at once, and again at its turn.
    assert checked.count(WRONG) <= 2 * [one.status for one in found].count(401)
    monkeypatch.setattr(logins, "MOST_WAIT_SECONDS", 60.0)
    assert ask(proxy).status == 200, "a new visitor comes in after those who wait"


def test_an_open_link_passes_the_apps_own_login_on(serve):
    server = serve(b"app")
    with proxy_before(server.port, login=None) as proxy:
        proxy.requests = server.requests
        assert ask(proxy, Authorization=WRONG).status == 200
        assert app_got(proxy)["authorization"] == WRONG


def test_another_name_is_refused_and_any_before_the_address_is_known(proxy, serve):
    """A page of another site could make a name of its own lead to this machine."""
    for host in ("127.0.0.1", NAME + ".evil.org"):
        assert ask(proxy, Host=host).status == 403
    assert proxy.requests == []
    early = AuthProxy(serve(b"app").port, None)
    early.start()
    try:
        assert ask(early).status == 503
    finally:
        early.stop()


# What the app is sent


def test_the_app_is_asked_under_its_own_address(proxy):
    spoof = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=x"}
    hop = {"TE": "trailers", "Connection": "keep-alive", "Keep-Alive": "5", "Upgrade": "h2c"}
    ask(proxy, path='/a%20b/../"?c=d', Origin=f"https://{NAME}", Cookie="a=b", **spoof, **hop)
    assert proxy.requests[-1].startswith(b'GET /a%20b/../"?c=d HTTP/1.1\r\n'), "not a byte changed"
    headers = app_got(proxy)
    own = headers["host"]
    assert own.startswith("127.0.0.1:") and headers["origin"] == f"http://{own}"
    assert headers["x-forwarded-host"] == NAME and headers["x-forwarded-proto"] == "https"
    assert headers["cookie"] == "a=b"
    assert not {"authorization", "forwarded", "te", "keep-alive", "upgrade"} & set(headers)
    # Not even the page of a visitor's own machine, at the port that the app has here.
    for origin in (f"http://{NAME}", f"https://{NAME}.evil.org", f"http://{own}"):
        ask(proxy, "POST", body=b"x", Origin=origin)
        assert app_got(proxy)["origin"] == "null"


def test_a_redirection_leads_to_the_public_name_and_cookies_stay_their_visitors(serve):
    def answer(connection, request):
        host = request.lower().partition(b"host: ")[2].split(b"\r\n")[0]
        head = b"HTTP/1.1 303 See Other\r\nSet-Cookie: session=ada\r\nContent-Length: 0\r\n"
        connection.sendall(head + b"Location: http://" + host + b"/page\r\n\r\n")

    server = serve(answer)
    with proxy_before(server.port) as proxy:
        proxy.requests = server.requests
        answer = ask(proxy)
        assert answer.headers["Location"] == f"https://{NAME}/page"
        assert answer.headers["Set-Cookie"] == "session=ada"
        ask(proxy)
        assert "cookie" not in app_got(proxy)


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 39\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 39",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: 0x5",
    ],
)
def test_a_request_with_two_lengths_is_refused(proxy, framing):
    """Else the rest of a body would be read as a request that nobody was asked a password for."""
    smuggled = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST / HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {RIGHT}\r\n{framing}\r\n\r\n"
    answer = sent_raw(proxy, head.encode("latin-1") + b"0\r\n\r\n" + smuggled)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert proxy.requests == []


@pytest.mark.parametrize(
    "line, status",
    [
        ("CONNECT other.example:443 HTTP/1.1", 400),
        ("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", 501),
        ("GET /%0Aproxy HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nHost: other.example", 400),
    ],
)
def test_what_is_not_a_plain_request_is_refused(proxy, line, status):
    head = f"{line}\r\nHost: {NAME}\r\nAuthorization: {RIGHT}\r\n\r\n"
    assert int(sent_raw(proxy, head.encode("latin-1")).split()[1]) == status
    assert proxy.requests == []


# Connections


def test_a_head_has_to_come_in_time(proxy, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    slow = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n".encode()
    for whole, begun in ((b"", b""), (b"", slow), (slow + b"\r\n", slow)):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
            connection.sendall(whole)
            assert not whole or connection.recv(65536).startswith(b"HTTP/1.1 401")
            connection.sendall(begun)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass  # until the proxy hangs up
    assert ask(proxy).status == 200


def test_silent_connections_keep_nobody_out(proxy, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
    kept = connect(proxy)
    assert ask(proxy, on=kept).read() == b"app"
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=20))
        assert ask(proxy).status == 200
        assert ask(proxy, on=kept).read() == b"app", "who is logged in keeps the connection"


def test_a_stranger_does_not_drop_visitors_who_are_logged_in_and_busy(serve, monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    go = threading.Event()

    def answer(connection, _request):
        go.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = serve(answer)
    with proxy_before(server.port) as proxy, ThreadPoolExecutor(4) as threads:
        busy = [connect(proxy) for _ in range(4)]
        answers = [threads.submit(ask, proxy, on=one) for one in busy]
        assert until(lambda: len(server.requests) == 4)
        late = [ask(proxy) for _ in range(6)]
        go.set()
        assert {one.status for one in late} == {503} and b"Too many" in late[0].read()
        assert [one.result().read() for one in answers] == [b"ok"] * 4
        assert until(lambda: ask(proxy).status == 200), "one that is idle makes room"


# Nothing is held back


def test_events_pass_one_by_one_and_a_visitor_who_leaves_is_noticed(serve):
    go, left = threading.Event(), threading.Event()

    def stream(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.sendall(b"data: 1\n\n")
        assert go.wait(20)
        connection.sendall(b"data: 2\n\n")
        if connection.recv(1) == b"":
            left.set()

    with proxy_before(serve(stream).port) as proxy:
        answer = ask(proxy)
        assert answer.readline() + answer.readline() == b"data: 1\n\n"
        go.set()
        assert answer.readline() + answer.readline() == b"data: 2\n\n"
        answer.close()
        assert left.wait(20)


def test_a_body_that_is_too_large_is_refused(serve, monkeypatch):
    monkeypatch.setattr(auth_proxy, "MAX_BODY_BYTES", 2**19)
    server = serve(b"app")
    with proxy_before(server.port) as proxy:
        for size, status in ((2**19, 200), (2**21, 413)):
            answer = ask(proxy, "POST", body=iter([b"x" * size]))
            assert answer.status == status and answer.headers[MARK]
    (request,) = server.requests
    assert request.endswith(b"x" * 2**19), "whole"


# A dead app


def test_a_dead_app_differs_from_a_dead_link(serve):
    for port in (free_port(), serve(lambda *_: None).port):
        with proxy_before(port) as proxy:
            answer = ask(proxy)
        assert answer.status == 502 and answer.headers[MARK] == proxy.mark


def test_an_app_that_breaks_off_gives_no_half_answer(serve, capfd):
    for head in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"):
        begun = b"HTTP/1.1 200 OK\r\n" + head
        server = serve(lambda connection, _, begun=begun: connection.sendall(begun))
        cut_off = pytest.raises((http.client.IncompleteRead, ConnectionResetError))
        with proxy_before(server.port) as proxy, cut_off:
            ask(proxy).read()
    assert capfd.readouterr().err == "", "nothing in the terminal of the one who shares"


def test_a_proxy_that_stops_ends_its_connections(serve):
    never = threading.Event()
    server = serve(lambda *_: never.wait(20))
    with proxy_before(server.port) as proxy:
        connection = connect(proxy)
        connection.request("GET", "/", headers={"Host": NAME, "Authorization": RIGHT})
        assert until(lambda: server.requests)
        proxy.stop()
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
    never.set()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
