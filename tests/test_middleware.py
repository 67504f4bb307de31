"""What passes the one middleware before every HTTP server of the lab, and what does not.
(`test_edges.py` sends the table of bad requests through it.)"""

import asyncio
import contextlib

import pytest

from lab_utils import middleware
from lab_utils.middleware import RequestLimits

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Server:
    """An application behind the middleware, asked without a network."""

    def __init__(self, **options) -> None:
        self.seen: list[bytes] = []
        self.left: list[bytes | None] = []
        self.go = asyncio.Event()
        self.go.set()
        self.limits = RequestLimits(self.answer, **{"most_bytes": 100} | options)

    async def answer(self, scope, receive, send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append(body)
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})

    async def ask(self, *pieces, method="POST", path="/", client="9.9.9.9", **headers) -> int:
        """The status for a body in pieces; None among them is one that does not come."""
        given = {"host": "127.0.0.1:80"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if pieces and "content-length" not in given:
            given["transfer-encoding"] = "chunked"
        left, sent = list(pieces), []

        async def receive() -> dict:
            piece = left.pop(0) if left else b""
            if piece is None:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": piece, "more_body": bool(left)}

        async def send(message: dict) -> None:
            self.left = left[:]
            sent.append(message)

        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        await self.limits(scope | {"client": (client, 1)}, receive, send)
        self.headers = dict(sent[0]["headers"])
        return sent[0]["status"]

    @contextlib.asynccontextmanager
    async def asked_slowly(self, *requests: dict):
        """While bodies arrive that do not end: the requests' tasks."""
        tasks = [asyncio.create_task(self.ask(b"x", None, **one)) for one in requests]
        await asyncio.sleep(0)
        yield tasks
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize(
    "expected, pieces, request_",
    [
        (413, [b"x" * 60, b"x" * 60], {}),
        (413, [b"x"], {"content_length": "9" * 5000}),
        (400, [b"x"], {"content_length": "²"}),
        (400, [], {"path": "/page\n"}),
        (403, [], {"host": ""}),
        (403, [b"x"], {"origin": "http://127.0.0.1:81"}),
        (200, [b"x"], {"origin": "http://127.0.0.1:80"}),
        (200, [], {"method": "GET", "origin": "http://evil.example"}),
        (200, [], {"host": "[::1]:80"}),
    ],
)
async def test_one_request(expected, pieces, request_):
    assert await Server().ask(*pieces, **request_) == expected


@pytest.mark.parametrize(
    "expected, hosts, headers",
    [
        (200, ["Reader.example"], {"origin": "https://reader.example"}),
        (200, ["reader.example:81"], {"origin": "https://reader.example:81"}),
        (403, ["reader.example"], {"origin": "https://reader.example:81"}),
        (403, ["reader.example"], {"host": "other.example"}),
        (200, ["*"], {"host": "any.example", "origin": "https://any.example"}),
        (200, ["*"], {"origin": "https://any.example", "sec_fetch_site": "same-origin"}),
        (403, ["*"], {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}),
    ],
)
async def test_names_of_a_proxy(expected, hosts, headers):
    assert await Server(hosts=hosts).ask(b"x", **headers) == expected


async def test_a_body_that_does_not_end_is_given_up():
    assert await Server(body_seconds=0.01).ask(b"x", None) == 408


async def test_a_refused_body_is_read_before_the_answer_and_holds_no_place(monkeypatch):
    """Else a client that is still sending it may find the connection reset, and no answer."""
    server = Server(most_open_bytes=150)
    assert await server.ask(b"x", b"y", b"", host="evil.example") == 403
    assert server.left == []
    monkeypatch.setattr(middleware, "_DRAIN_SECONDS", 0.5)
    refused = asyncio.create_task(server.ask(b"x" * 100, b"y", None))
    await asyncio.sleep(0)
    assert await server.ask(b"x" * 100) == 200
    assert not refused.done()
    assert await refused == 413


async def test_bytes_of_all_bodies_together_are_bounded():
    server = Server(most_open_bytes=150)
    server.go.clear()
    first = asyncio.create_task(server.ask(b"x" * 100))
    while not server.seen:
        await asyncio.sleep(0)
    assert await server.ask(b"x" * 100) == 503
    assert server.headers[b"retry-after"]
    server.go.set()
    assert await first == 200
    assert await server.ask(b"x" * 100) == 200


@pytest.mark.parametrize("places", ["MOST_BODIES", "CLIENT_BODIES"])
async def test_slow_bodies_leave_room(monkeypatch, places):
    monkeypatch.setattr(middleware, places, 2)
    server = Server()
    async with server.asked_slowly({}, {}) as slow:
        assert await server.ask(b"whole") == 503
        monkeypatch.setattr(middleware, "STRAGGLER_SECONDS", 0.0)
        assert await server.ask(b"whole") == 200
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [408]


async def test_a_client_takes_no_place_of_another(monkeypatch):
    monkeypatch.setattr(middleware, "CLIENT_BODIES", 1)
    server, proxied = Server(), {"client": "127.0.0.1"}
    direct, behind = {"client": "9.9.9.1"}, {"x_forwarded_for": "9.9.9.2"} | proxied
    async with server.asked_slowly(direct, behind):
        assert await server.ask(b"x", client="9.9.9.1") == 503
        assert await server.ask(b"x", client="9.9.9.1", x_forwarded_for="9.9.9.7") == 503
        assert await server.ask(b"x", x_forwarded_for="9.9.9.7, 9.9.9.2", **proxied) == 503
        assert await server.ask(b"x", client="9.9.9.2") == 503
        assert await server.ask(b"x", x_forwarded_for="9.9.9.3", **proxied) == 200
