"""Who may ask the server what, decided before any route: the right host, the right page, the key.

This protects against a web page that the student happens to have open: names that resolve to this
machine (DNS rebinding) and writes from another origin are refused; nothing is shared by CORS."""

import hmac
import ipaddress
import logging
import sqlite3
from base64 import b64decode
from binascii import Error as Base64Error

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_tracker.errors import RequestError

_log = logging.getLogger(__name__)
_OPEN = ("/-/", "/healthz")  # signed addresses, the style sheet, and whether the server lives
_KEYED = ("/graphql", "/files/")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors http://localhost:* http://127.0.0.1:*",
}


class Guard:
    """ASGI middleware. `pages_are_open` if only this machine can reach the server.

    It also turns every exception into an answer below 500: after a 5xx, the SDK would repeat the
    request until it times out.
    """

    def __init__(self, app: ASGIApp, key: str, host: str, pages_are_open: bool) -> None:
        self._app = app
        self._key = key
        self._host = host.lower()
        self._pages_are_open = pages_are_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                given = {name.lower() for name, _ in message["headers"]}
                added = [(n.lower().encode(), v.encode()) for n, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(h for h in added if h[0] not in given)]
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, receive, answer)
        except Exception as error:
            if has_begun:
                raise
            response = PlainTextResponse(str(error), _status(error))
            if isinstance(error, _KeyAskedError):
                response.headers["WWW-Authenticate"] = 'Basic realm="tracker"'
            await response(scope, receive, answer)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not _is_own_host(host, self._host):
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


def _is_own_host(header: str, own: str) -> bool:
    """Whether a Host header holds localhost, the server's own name, or an address in numbers.

    An address in numbers can't be rebound, since it is not looked up.
    """
    name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    name = name.strip("[]").lower()
    if name in ("localhost", own):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _status(error: Exception) -> int:
    """The status of an error: one that makes the SDK try again only if that may help."""
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
