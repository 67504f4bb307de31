"""Downloads: what is refused, and that nothing lasts longer or grows larger than allowed."""

import contextlib
import socket
import ssl
import time

import pytest
from conftest import free_port
from tunnel_serving import write_certificate

from text_recognizer import fetching
from text_recognizer.errors import AddressError, DownloadError
from text_recognizer.fetching import fetch, is_public

OK = b"HTTP/1.1 200 OK\r\n"
MOST_SECONDS = 15  # on a machine that does other things besides; what is waited for takes 30


def raw(data: bytes):
    def answer(connection, _request):
        connection.sendall(data)

    return answer


def redirect(location: str, status: int = 302):
    head = f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return raw(head.encode())


def local(url, **options):
    return fetch(url, allow_private_addresses=True, **{"timeout": 5, **options})


@pytest.fixture
def names(monkeypatch):
    """Names that resolve as a test says: {name: [addresses]}."""
    real = socket.getaddrinfo
    known: dict[str, list[str]] = {}

    def look_up(host, port, *args, **kwargs):
        addresses = known.get(host, [host])
        return [answer for a in addresses for answer in real(a, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_body_and_request_and_no_proxy(serve, monkeypatch):
    server, proxy = serve(b"picture"), serve(b"from the proxy")
    for name in ("http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert local(f"{server.url}/a b/ü.png?q=ä&x=1#part") == b"picture"
    head = server.requests[0].decode().lower()
    assert head.startswith("get /a%20b/%c3%bc.png?q=%c3%a4&x=1 http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "accept-encoding: identity" in head


def test_chunked_and_unannounced_lengths(serve):
    chunked = serve(raw(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    assert local(chunked.url) == b"abcde"
    assert local(serve(raw(OK + b"\r\nuntil the end")).url) == b"until the end"


PRIVATE_HOSTS = """127.0.0.1 0.0.0.0 2130706433 017700000001 10.1.2.3 192.168.1.1 169.254.169.254
    0251.0376.0251.0376 100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1 [::1] [::]
    [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [64:ff9b::7f00:1] [2002:7f00:1::]
    [2001::1] [3fff::1] [fe80::1] [fd00:ec2::254] [ff02::1]"""


def test_private_addresses_are_refused_in_every_spelling(serve, names):
    server = serve(b"secret")
    names["mixed.example"] = ["8.8.8.8", "127.0.0.1"]
    for host in [*PRIVATE_HOSTS.split(), "mixed.example"]:
        with pytest.raises(AddressError, match="private"):
            fetch(f"http://{host}:{server.port}/")
    assert server.requests == []
    for address in ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(address)


def test_the_address_checked_is_the_one_connected_to(serve, names, monkeypatch):
    server = serve(b"picture")
    names["moving.example"] = ["127.0.0.1"]
    checked = []

    def check(address):
        checked.append(address)
        names["moving.example"] = ["10.0.0.1"]
        return True

    monkeypatch.setattr(fetching, "is_public", check)
    assert fetch(f"http://moving.example:{server.port}/", timeout=5) == b"picture"
    assert checked == ["127.0.0.1"]
    assert f"Host: moving.example:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize("location", ["http://inside.example/", "//[::1]/"])
def test_redirect_from_public_to_private_is_refused(location, serve, names, monkeypatch):
    server = serve(redirect(location))
    names.update({"public.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]})
    real = fetching.is_public
    monkeypatch.setattr(fetching, "is_public", lambda a: a == "127.0.0.1" or real(a))
    with pytest.raises(AddressError, match="private"):
        fetch(f"http://public.example:{server.port}/", timeout=5)
    assert len(server.requests) == 1


def test_redirects_are_followed_to_an_end(serve):
    def answer(connection, request):
        path = request.split()[1].decode()
        status = path.rpartition("/")[2]
        to_go_on = redirect("../end", int(status)) if status != "end" else raw(OK + b"\r\nthere")
        to_go_on(connection, request)

    for status in (301, 302, 303, 307, 308):
        assert local(f"{serve(answer).url}/a/{status}") == b"there"
    server = serve(redirect("/again"))
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        local(server.url)
    assert len(server.requests) == 6


@pytest.mark.parametrize("url", ["http://host:99999/", "http://[::1/", "http://a b/"])
def test_an_address_that_is_not_complete(url):
    """The other bad addresses are in `bad_requests.py`, which every edge refuses."""
    with pytest.raises(AddressError, match="not complete"):
        fetch(url)


def test_header_injection_is_not_possible(serve):
    server = serve(b"x")
    with contextlib.suppress(AddressError, DownloadError):
        local(f"{server.url}/a\r\nInjected: yes\r\n\r\n?b\r\nInjected: yes")
    assert all(b"\nInjected" not in request for request in server.requests)


def drip(prefix):
    def answer(connection, _request):
        connection.sendall(prefix)
        for _ in range(600):
            connection.sendall(b"a")
            time.sleep(0.05)

    return answer


def forever(connection, _request):
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def slow_redirect(connection, request):
    time.sleep(0.2)
    redirect("/again")(connection, request)


SLOW = {
    "headers": drip(OK + b"X-Slow: "),
    "body": drip(OK + b"Content-Length: 100\r\n\r\n"),
    "redirects": slow_redirect,
    "endless continue": forever,
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_one_deadline_holds_over_everything(answer, serve):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"within 0\.5 s"):
        local(serve(answer).url, timeout=0.5)
    assert 0.4 < time.monotonic() - start < MOST_SECONDS


def test_the_deadline_holds_over_the_name_look_up_and_the_handshake(serve, monkeypatch):
    server = serve(b"", wrap=lambda sock: time.sleep(30) or sock)
    start = time.monotonic()
    with pytest.raises(DownloadError, match="within"):
        local(server.url.replace("http", "https"), timeout=0.4)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: time.sleep(30) or [])
    with pytest.raises(DownloadError, match="within"):
        fetch("http://slow.example/", timeout=0.3)
    assert time.monotonic() - start < MOST_SECONDS


@pytest.mark.parametrize(
    "header", [b"Content-Length: 20000001\r\n", b"", b"Transfer-Encoding: chunked\r\n"]
)
def test_a_body_that_is_announced_or_grows_too_large_is_refused(header, serve):
    sent = []

    def answer(connection, _request):
        connection.sendall(OK + header + b"\r\n")
        piece = bytes(65536)
        for _ in range(1000):
            sent.append(len(piece))
            connection.sendall(b"10000\r\n" + piece + b"\r\n" if header[:1] == b"T" else piece)

    with pytest.raises(DownloadError, match=r"more than 0\.5 MB"):
        local(serve(answer).url, max_bytes=500_000)
    assert sum(sent) < 30_000_000


@pytest.mark.parametrize(
    "answer, what",
    [
        (raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "status 404"),
        (raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "status 302"),
        (raw(OK + b"Content-Encoding: gzip\r\n\r\nzzz"), "compressed"),
        (raw(OK + b"Content-Length: 10\r\n\r\nabc"), "broke off"),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc"), "broke off"),
        (raw(b"SSH-2.0-server\r\n"), "broke off"),
        (raw(OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n"), "broke off"),
        (redirect("http://[broken/"), "redirects to a damaged"),
    ],
)
def test_bad_answers(answer, what, serve):
    with pytest.raises(DownloadError, match=what):
        local(serve(answer).url)


def test_nobody_there_and_a_second_address(serve, names, monkeypatch):
    server = serve(b"picture")
    names["two.example"] = ["::1", "127.0.0.1"]
    assert local(f"http://two.example:{server.port}/") == b"picture"
    with pytest.raises(DownloadError, match="could not be reached"):
        local(f"http://127.0.0.1:{free_port()}/")

    def unknown(*_args, **_kwargs):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"nowhere\.example was not found"):
        fetch("http://nowhere.example/")


def test_https_checks_the_certificate_and_sends_the_name(serve, names, tmp_path, monkeypatch):
    certificate = tmp_path / "certificate.pem"
    write_certificate(certificate, "images.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = serve(b"secure", wrap=lambda sock: context.wrap_socket(sock, server_side=True))
    names.update({"images.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    url = f"https://images.example:{server.port}/"
    with pytest.raises(DownloadError, match="No secure connection"):
        local(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert local(url) == b"secure"
    assert asked[-1] == "images.example"
    assert f"Host: images.example:{server.port}".encode() in server.requests[-1]
    with pytest.raises(DownloadError, match="No secure connection"):
        local(f"https://other.example:{server.port}/")
