"""The authentication proxy: a link ends here, visitors log in, and their requests go on to the app.

ngrok could ask for a password itself, but could not give the app a Host header that it accepts
without opening it to others. This proxy on 127.0.0.1 does both, on every plan of ngrok, and it is
the same in tests as on the internet. Requests are passed on once they are whole, so a slow visitor
does not keep the app busy; answers are passed on piece by piece, so streams of events arrive as
they are sent.
"""

import functools
import secrets
from collections.abc import Iterable
from contextlib import suppress

import httpx
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from lab_utils.logins import RETRY, TOO_MANY, Login, LoginQueue, LoginQueueFullError
from lab_utils.middleware import ANY_HOST, RequestLimits
from lab_utils.net import LOOPBACK, LocalServer, host_name, listening_socket
from lab_utils.tunnel.connections import Connection
from lab_utils.tunnel.way import TunnelError

MARK = "x-lab-tunnel"
"""Header of every answer that passed the proxy, its own included: an answer without it doesn't come
from here. Each proxy has its own random value."""

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 100 * 2**20
BODY_SECONDS = 120.0
"""For a whole body: a phone with a weak signal takes long for a photo."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open for its next request."""

_CHALLENGE = {"www-authenticate": 'Basic realm="Handwriting reader", charset="UTF-8"'}

# They concern one connection (RFC 9110, 7.6.1).
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
_HOP |= {b"transfer-encoding"}
# The length is that of the body which has arrived.
_SET_HERE = {b"host", b"expect", b"content-length", b"forwarded", b"x-forwarded-host"}
_SET_HERE |= {b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix"}

Pairs = list[tuple[bytes, bytes]]


class AuthProxy:
    """A proxy from a free port of 127.0.0.1 to the app's; it answers from a separate thread.

    Args:
        app_port: the app's port on 127.0.0.1.
        login: the name and password that visitors need; None for a link that is open to all.
    """

    def __init__(self, app_port: int, login: Login | None) -> None:
        self.mark = secrets.token_hex(8)
        self._app_url = f"http://{LOOPBACK}:{app_port}"
        self._login, self._queue = login, LoginQueue()
        self._names: Names | None = None
        self._app: httpx.AsyncHTTPTransport | None = None
        self._connections: dict[tuple[str, int], Connection] = {}
        # Hosts are checked before the login, and origins by the app.
        self._whole_requests = RequestLimits(
            self._relay,
            most_bytes=MAX_BODY_BYTES,
            body_seconds=BODY_SECONDS,
            hosts=(ANY_HOST,),
            checks_origin=False,
            most_open_bytes=2 * MAX_BODY_BYTES,
            refuse=_refuse,
        )
        self._server = LocalServer(
            "authentication proxy",
            self._answer,
            listening_socket(0),
            TunnelError,
            interface="asgi3",
            http=functools.partial(Connection, self._connections),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            proxy_headers=False,  # a visitor could claim any address
            date_header=False,  # the app's answers have one
            log_level="error",  # what visitors send wrong is not the user's concern
        )
        self.port = self._server.port

    def start(self) -> None:
        """Starts to answer; all requests are refused until `open_to` names the public address."""
        self._server.start()

    def open_to(self, public_url: str) -> None:
        """Lets requests in that ask for this address, and no others."""
        self._names = Names(public_url, self._app_url)

    def stop(self) -> None:
        """Ends all connections; can be called twice."""
        for connection in list(self._connections.values()):
            with suppress(RuntimeError):  # the loop has ended, and they with it
                connection.loop.call_soon_threadsafe(connection.drop)
        self._server.stop()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connections.get(scope["client"])
        if connection is None:  # it had to make room
            await _visitor_left(receive)
            return
        with connection.in_use():
            refusal = await self._refusal(scope, connection)
            connection.let_in = refusal is None
            await (refusal or self._whole_requests)(scope, receive, self._marked(send))

    async def _refusal(self, scope: Scope, connection: Connection) -> Response | None:
        """The answer to a request that isn't passed on."""
        headers = Headers(scope=scope)
        if self._names is None:
            return _refuse(503, "The link is not ready yet; try again in a few seconds.")
        if connection.comes_too_late:
            again = {"connection": "close", "retry-after": "5"}
            return _refuse(503, "Too many visitors; try again in a few seconds.", again)
        if "content-length" in headers and "transfer-encoding" in headers:
            # Two lengths may be read as two requests further on (RFC 9112, 6.3).
            return _refuse(400, "The request has two lengths.")
        if not scope["raw_path"].startswith(b"/"):
            return _refuse(400, "The request's target must be a path.")
        if headers.get("upgrade", "").lower() == "websocket":
            return _refuse(501, "This link passes HTTP only, no WebSockets.")
        if not self._names.is_public(headers.get("host", "")):
            return _refuse(403, "Wrong host name. Use the link exactly as it was given to you.")
        return await self._login_refusal(headers.get("authorization"), connection.let_in)

    async def _login_refusal(self, given: str | None, was_let_in: bool) -> Response | None:
        if self._login is None:
            return None
        try:
            if given and await self._queue.check(lambda: self._login.is_in(given), was_let_in):
                return None
        except LoginQueueFullError:
            return _refuse(429, TOO_MANY, RETRY)
        return _refuse(401, "This link needs a name and a password.", _CHALLENGE)

    def _marked(self, send: Send) -> Send:
        """Adds our mark to each answer, in place of one that the app may have sent."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if pair[0].lower() != MARK.encode()]
                message["headers"] = [*kept, (MARK.encode(), self.mark.encode())]
            await send(message)

        return marked

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a whole request on and the answer back, until the answer or the visitor ends."""
        if self._app is None:
            # In the server's own event loop. A client would keep one visitor's cookies and send
            # them with the requests of another.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._app = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        body, query = await Request(scope, receive).body(), scope["query_string"]
        request = httpx.Request(
            scope["method"],
            self._app_url,
            headers=self._names.towards_app(scope["headers"], self._login is not None),
            content=body or None,
            # The path as it came: httpx would encode some of it again.
            extensions={"target": scope["raw_path"] + (b"?" + query if query else b"")},
        )
        try:
            answer = await self._app.handle_async_request(request)
        except httpx.TransportError as error:
            ended = isinstance(error, httpx.ConnectError)
            what = "is not running" if ended else "broke off; try again"
            await _refuse(502, f"The app behind this link {what}.")(scope, receive, send)
            return
        response = StreamingResponse(answer.stream, answer.status_code)
        response.raw_headers = self._names.towards_visitor(answer.headers.raw)
        try:
            await response(scope, receive, send)
        except httpx.TransportError:
            # The app broke off. A broken connection says that the answer is not whole.
            if connection := self._connections.get(scope["client"]):
                connection.drop()
            await _visitor_left(receive)
        finally:
            await answer.aclose()


class Names:
    """The link's address and the app's, and how one becomes the other in headers.

    The app takes requests for its own address only, because another site can make its name lead to
    this machine. Visitors ask for the public name. So the proxy, which knows
    that name and refuses all others, replaces it with the app's own address, in Host and in the
    Origin of the link's own pages. Another site's Origin becomes `null`, which nobody has: what
    the app refuses without a tunnel, it refuses through one.

    Args:
        public_url: the link.
        app_url: the app's address on this machine, without a slash at its end.
    """

    def __init__(self, public_url: str, app_url: str) -> None:
        self._public_url, self._app_url = public_url.rstrip("/").encode(), app_url.encode()
        self._scheme, _, self._public = self._public_url.partition(b"://")

    def is_public(self, host: str) -> bool:
        """Whether a Host header holds the link's name."""
        return host_name(host) == host_name(self._public.decode())

    def towards_app(self, headers: Iterable[tuple[bytes, bytes]], with_login: bool) -> Pairs:
        """A request's headers as the app gets them.

        Args:
            with_login: the proxy asked for the login, which is not for the app to see.
        """
        dropped = _HOP | _SET_HERE | ({b"authorization"} if with_login else set())
        passed = [
            (b"host", self._app_url.removeprefix(b"http://")),
            (b"x-forwarded-host", self._public),
            (b"x-forwarded-proto", self._scheme),
        ]
        for name, value in headers:
            if name == b"origin":
                value = self._app_url if value == self._public_url else b"null"
            if name not in dropped:
                passed.append((name, value))
        return passed

    def towards_visitor(self, headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
        """An answer's headers as the visitor gets them."""
        return [
            (name, self._public_place(value) if name.lower() == b"location" else value)
            for name, value in headers
            if name.lower() not in _HOP
        ]

    def _public_place(self, location: bytes) -> bytes:
        place = location.replace(b"https://", b"http://", 1)
        if place == self._app_url or place.startswith(self._app_url + b"/"):
            return self._public_url + place.removeprefix(self._app_url)
        return location


async def _visitor_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refuse(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(
        f"{sentence}\n", status, {"cache-control": "no-store"} | (headers or {})
    )
