"""What passes the one middleware before every HTTP server of the lab, and what does not."""

import asyncio

import pytest

from lab_utils import middleware
from lab_utils.middleware import RequestLimits


class Server:
    """An application behind the middleware, asked without a network."""

    def __init__(self, **options) -> None:
        self.seen: list[bytes] = []
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
            sent.append(message)

        pairs = [(name.encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        await self.limits(scope | {"client": (client, 1)}, receive, send)
        self.headers = dict(sent[0]["headers"]) if sent else {}
        return sent[0]["status"] if sent else 0


def status(*pieces, options=None, **request) -> int:
    async def ask() -> int:
        return await Server(**options or {}).ask(*pieces, **request)

    return asyncio.run(ask())


def test_a_whole_body_is_handed_on_in_its_pieces():
    async def ask() -> None:
        server = Server()
        assert await server.ask(b"one ", b"two ", b"three") == 200
        assert await server.ask(method="GET") == 200
        assert server.seen == [b"one two three", b""]

    asyncio.run(ask())


@pytest.mark.parametrize(
    "expected, pieces, request_",
    [
        (413, [b"x" * 60, b"x" * 60], {}),
        (413, [b"x" * 101], {"content_length": "101"}),
        (413, [b"x"], {"content_length": "9" * 5000}),
        (400, [b"x"], {"content_length": "²"}),
        (400, [], {"path": "/page\n"}),
        (400, [], {"path": "/\x7f"}),
        (403, [], {"host": "evil.example"}),
        (403, [], {"host": ""}),
        (403, [b"x"], {"origin": "http://evil.example"}),
        (403, [b"x"], {"origin": "http://127.0.0.1:81"}),
        (403, [b"x"], {"origin": "http://localhost"}),
        (200, [b"x"], {"origin": "http://127.0.0.1:80"}),
        (200, [], {"method": "GET", "origin": "http://evil.example"}),
        (200, [b"x" * 100], {}),
        (200, [], {"host": "localhost:80"}),
        (200, [], {"host": "[::1]:80"}),
    ],
)
def test_one_request(expected, pieces, request_):
    assert status(*pieces, **request_) == expected


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
def test_names_of_a_proxy(expected, hosts, headers):
    assert status(b"x", options={"hosts": hosts}, **headers) == expected


def test_methods_that_are_not_open():
    async def ask() -> None:
        server = Server(methods=("GET", "POST"))
        assert await server.ask(method="PUT") == 405
        assert server.headers[b"allow"] == b"GET, POST"
        assert await server.ask(method="GET") == 200

    asyncio.run(ask())


def test_a_body_that_does_not_end_is_given_up():
    assert status(b"x", None, options={"body_seconds": 0.01}) == 408


def test_a_refused_body_is_read_before_the_answer():
    """Else a client that is still sending it may find the connection reset, and no answer."""

    async def ask() -> None:
        pieces, received = [b"x", b"y", b""], []

        async def receive() -> dict:
            received.append(pieces.pop(0))
            return {"type": "http.request", "body": received[-1], "more_body": bool(pieces)}

        async def send(message: dict) -> None:
            assert pieces == []

        headers = [(b"host", b"evil.example"), (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await Server().limits(scope, receive, send)
        assert received == [b"x", b"y", b""]

    asyncio.run(ask())


def test_a_refused_body_holds_no_place_while_its_rest_is_read(monkeypatch):
    monkeypatch.setattr(middleware, "_DRAIN_SECONDS", 0.5)

    async def ask() -> None:
        server = Server(most_open_bytes=150)
        refused = asyncio.create_task(server.ask(b"x" * 100, b"y", None))
        await asyncio.sleep(0)
        assert await server.ask(b"x" * 100) == 200
        assert not refused.done()
        assert await refused == 413

    asyncio.run(ask())


def test_bytes_of_all_bodies_together_are_bounded():
    async def ask() -> None:
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

    asyncio.run(ask())


@pytest.mark.parametrize(
    "places", [{"most_bodies": 2}, {"client_bodies": 2}], ids=["in all", "of a client"]
)
def test_slow_bodies_leave_room(monkeypatch, places):
    async def ask() -> None:
        server = Server(**places)
        slow = [asyncio.create_task(server.ask(b"x", None)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await server.ask(b"whole") == 503
        monkeypatch.setattr(middleware, "STRAGGLER_SECONDS", 0.0)
        assert await server.ask(b"whole") == 200
        done, pending = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [408]
        for task in pending:
            task.cancel()

    asyncio.run(ask())


def test_a_client_takes_no_place_of_another():
    async def ask() -> None:
        server = Server(client_bodies=1)
        proxied = {"client": "127.0.0.1"}
        slow = [
            asyncio.create_task(server.ask(b"x", None, client="9.9.9.1")),
            asyncio.create_task(server.ask(b"x", None, x_forwarded_for="9.9.9.2", **proxied)),
        ]
        await asyncio.sleep(0)
        assert await server.ask(b"x", client="9.9.9.1") == 503
        assert await server.ask(b"x", client="9.9.9.1", x_forwarded_for="9.9.9.7") == 503
        assert await server.ask(b"x", x_forwarded_for="9.9.9.7, 9.9.9.2", **proxied) == 503
        assert await server.ask(b"x", client="9.9.9.2") == 503
        assert await server.ask(b"x", x_forwarded_for="9.9.9.3", **proxied) == 200
        for task in slow:
            task.cancel()

    asyncio.run(ask())
