"""What every HTTP server of the lab checks before its application sees a request.

The right host and method, no page of another site, a path without control characters, and a body
that is whole, small enough and in time. The body is read here, so that what comes after, a queue or
a reader, is only ever busy with whole requests: a client that sends slowly holds up nobody else.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, field

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_utils.net import host_name, is_local_host, is_loopback

ANY_HOST = "*"
BODY_SECONDS = 30.0
RETRY_SECONDS = 2

MOST_BODIES = 256
"""Bodies that may be on their way at once."""

CLIENT_BODIES = 64
"""How many of them one client may send. A client is an address; behind a proxy on this machine, it
is the address that the proxy reports."""

STRAGGLER_SECONDS = 3.0
"""A body that takes longer than this loses its place to another one, where places are short."""

_DRAIN_SECONDS = 3.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BUSY = 503, "Too many requests are arriving at once; try again in a few seconds."
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def json_refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """The lab's own form of an error."""
    return JSONResponse({"error": message}, status, headers)


@dataclass(eq=False)
class RequestLimits:
    """ASGI middleware: what passes is a whole request from a client that may ask.

    Args:
        app: the application behind it.
        most_bytes: most bytes of a body.
        body_seconds: time for a whole body to arrive.
        hosts: names under which the server may be asked, besides localhost and addresses in
            numbers (these can't be rebound); ANY_HOST among them for all. A page under one of
            these names may write; add the port, NAME:PORT, where a proxy uses an unusual one.
        methods: HTTP methods that are open; None for all.
        checks_origin: refuse writes from pages of other sites and from other ports.
        most_open_bytes: bytes of all bodies that have arrived and are not answered yet.
        refuse: makes the answer from a status and a sentence.
    """

    app: ASGIApp
    _: KW_ONLY
    most_bytes: int
    body_seconds: float = BODY_SECONDS
    hosts: Collection[str] = ()
    methods: Collection[str] | None = None
    checks_origin: bool = True
    most_open_bytes: int | None = None
    refuse: Callable[[int, str], Response] = json_refusal

    def __post_init__(self) -> None:
        self.most_open_bytes = self.most_open_bytes or 8 * self.most_bytes
        self._origins = {host.lower() for host in self.hosts}
        self._names = {host_name(host) for host in self.hosts}
        self._arriving: dict[_Body, None] = {}  # in the order in which they began
        self._open_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":  # no server of the lab has websockets
            await send({"type": "websocket.close", "code": 1008})
        elif refused := self._refused_head(scope):
            await self._answer(*refused, scope, receive, send)
        elif _has_body(scope):
            await self._with_body(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(_client(scope))
        try:
            refused = await self._read(body, receive)
            if refused is not None:
                self._forget(body)  # reading what is left of it takes a moment
                await self._answer(*refused, scope, receive, send)
            elif not body.is_cut:
                await self.app(scope, again(body.pieces, receive), send)
        finally:
            self._forget(body)

    def _forget(self, body: "_Body") -> None:
        self._open_bytes -= body.bytes
        body.bytes = 0
        body.pieces.clear()

    def _refused_head(self, scope: Scope) -> tuple[int, str] | None:
        """Status and sentence where something is wrong before the body."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        is_own = ANY_HOST in self._names or is_local_host(host, self._names)
        if not is_own or len(headers.getlist("host")) > 1:
            return 403, f"Wrong host name: {host[:100]!r}. Use the address exactly as it was given."
        if _CONTROL.search(scope["path"]):
            return 400, "A path has no control characters."
        if self.methods is not None and scope["method"] not in self.methods:
            return 405, f"Use {' or '.join(self.methods)}."
        writes = scope["method"] not in _SAFE_METHODS
        if writes and self.checks_origin and not self._is_own_page(headers, host):
            return 403, "Another site's page may not use this server."
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            return 400, "Content-Length must be a number."
        if len(length) > 15 or int(length) > self.most_bytes:
            return self._too_large()
        return None

    def _is_own_page(self, headers: Headers, host: str) -> bool:
        """Whether a write comes from a page of this server, or from no page at all."""
        origin = headers.get("origin")
        if origin is None:
            return True
        place = origin.partition("://")[2].lower()
        if place == host.lower() or place in self._origins:
            return True
        # The name is unknown where any is allowed, but a browser says whether it is the same.
        return ANY_HOST in self._names and headers.get("sec-fetch-site") in (None, "same-origin")

    async def _read(self, body: "_Body", receive: Receive) -> tuple[int, str] | None:
        """Reads the whole body; status and sentence where it is refused."""
        if not self._find_place(body.client):
            return _BUSY
        self._arriving[body] = None
        try:
            async with body.deadline(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        body.is_cut = True
                        return None
                    piece = message.get("body", b"")
                    if body.bytes + len(piece) > self.most_bytes:
                        return self._too_large()
                    if self._open_bytes + len(piece) > self.most_open_bytes:
                        return _BUSY
                    body.bytes += len(piece)
                    self._open_bytes += len(piece)
                    body.pieces.append(message)
                    if not message.get("more_body", False):
                        return None
        except TimeoutError:
            return 408, "The request did not arrive in time. Try again with a faster connection."
        finally:
            self._arriving.pop(body, None)

    def _find_place(self, client: str) -> bool:
        """Whether one more body may come; a straggler makes room where all places are taken."""
        rivals = [body for body in self._arriving if body.client == client]
        if len(rivals) < CLIENT_BODIES:
            rivals = list(self._arriving)
            if len(rivals) < MOST_BODIES:
                return True
        if not rivals[0].gives_way():
            return False
        del self._arriving[rivals[0]]
        return True

    def _too_large(self) -> tuple[int, str]:
        return 413, (
            f"The request has more than {self.most_bytes / 1e6:.3g} MB, the most that is taken; "
            "make it smaller."
        )

    async def _answer(
        self, status: int, sentence: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = self.refuse(status, sentence)
        if _has_body(scope):
            if status != 408:
                await _drain(receive)
            # What is left of it is not read, so the connection can't go on.
            response.headers["connection"] = "close"
        if status == 503:
            response.headers["retry-after"] = str(RETRY_SECONDS)
        if status == 405:
            response.headers["allow"] = ", ".join(self.methods or ())
        await response(scope, receive, send)


@dataclass(eq=False)
class _Body:
    """A body on its way: what has come of it, and until when it may come."""

    client: str
    pieces: deque[Message] = field(default_factory=deque)
    bytes: int = 0
    is_cut: bool = False

    def deadline(self, seconds: float) -> asyncio.Timeout:
        self._began = asyncio.get_running_loop().time()
        self._timeout = asyncio.timeout(seconds)
        return self._timeout

    def gives_way(self) -> bool:
        """Ends the body where it is a straggler."""
        now = asyncio.get_running_loop().time()
        if now - self._began < STRAGGLER_SECONDS:
            return False
        self._timeout.reschedule(now)
        return True


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _client(scope: Scope) -> str:
    address = (scope.get("client") or ("", 0))[0]
    # The last one is what the nearest proxy has seen; those before it, a client can invent.
    reported = Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
    return reported if reported and is_loopback(address) else address


def again(messages: deque[Message], receive: Receive) -> Receive:
    """Gives messages that were received once more, and then what else comes."""

    async def give() -> Message:
        return messages.popleft() if messages else await receive()

    return give


async def _drain(receive: Receive) -> None:
    """Reads on for a moment: many clients look at the answer only when they have sent all, and
    lose it if the connection ends before."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
