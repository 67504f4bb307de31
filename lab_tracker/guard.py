"""Who may ask the server what, decided before any route: the right host, the right page, the key.

Against a web page that the student happens to have open: names that resolve to this machine (DNS
rebinding) and writes from another origin are refused, and nothing is shared by CORS."""

import hmac
import logging
import sqlite3
from base64 import b64decode
from binascii import Error as Base64Error

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_tracker.errors import RequestError
from lab_utils.net import is_local_host

_log = logging.getLogger(__name__)
_OPEN = ("/-/", "/healthz")  # signed addresses, the style sheet, and whether it lives
_KEYED = ("/graphql", "/files/")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors http://localhost:* http://127.0.0.1:*",
}


class Guard:
    """ASGI middleware. `pages_are_open` where only this machine can reach the server.

    It also makes every exception an answer that is no 5xx: the SDK would repeat the request until
    it times out.
    """

    def __init__(self, app: ASGIApp, key: str, host: str, pages_are_open: bool) -> None:
        self._app = app
        self._key = key
        self._host = host.lower()
        self._pages_are_open = pages_are_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(send)
        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, receive, answer)
        except Exception as error:
            if answer.has_begun:
                raise
            response = PlainTextResponse(str(error), _status(error))
            if isinstance(error, _KeyAskedError):
                response.headers["WWW-Authenticate"] = 'Basic realm="tracker"'
            await response(scope, receive, answer)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not is_local_host(host, (self._host,)):
            raise RequestError(f"{host[:100]!r} is not this server.", 403)
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin not in (None, f"http://{host}"):
            raise RequestError("Another site's page may not write here.", 403)
        is_page = not path.startswith(_KEYED)
        if path.startswith(_OPEN) or (is_page and self._pages_are_open):
            return
        if not self._has_key(headers.get("authorization", "")):
            kind = _KeyAskedError if is_page else RequestError
            raise kind("The tracker's key is missing or wrong.", 401)

    def _has_key(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        if kind.lower() == "bearer":
            key = value.strip()
        else:
            try:
                key = b64decode(value, validate=True).decode().partition(":")[2]
            except (Base64Error, ValueError):
                return False
        return hmac.compare_digest(key.encode(), self._key.encode())


class _KeyAskedError(RequestError):
    """A browser may ask its user for the key."""


class _Answer:
    """Sends an answer on, with the headers that each one has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = {name.lower() for name, _ in message["headers"]}
            added = ((n.lower().encode(), v.encode()) for n, v in _HEADERS.items())
            message["headers"] = [*message["headers"], *(h for h in added if h[0] not in given)]
        await self._send(message)


def _status(error: Exception) -> int:
    """The status of an error: one that makes the SDK try again only where that may help."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return 429
    if isinstance(error, FileNotFoundError):
        return 404
    if isinstance(error, sqlite3.OperationalError | OSError):
        return 413  # in all likelihood the disk is full
    _log.error("a request failed", exc_info=error)
    return 400
