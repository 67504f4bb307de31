"""Who may ask the server what, decided before any route: the right host, the right page, the key.

This protects against a web page that the student happens to have open: names that resolve to this
machine (DNS rebinding) and writes from another origin are refused; nothing is shared by CORS."""

import hmac
import logging
import sqlite3
from base64 import b64encode

from pydantic import ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_tracker.errors import RequestError
from lab_tracker.names import first_mistake
from lab_tracker.serving import is_local_host

_log = logging.getLogger(__name__)
_KEYED = ("/graphql", "/files/")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors http://localhost:* http://127.0.0.1:*",
}


class Guard:
    """Turns every exception into an answer below 500: after a 5xx, the SDK would repeat the request
    until it times out. Plain ASGI: Starlette's base class would hand each piece of a file on."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._authorization = b"basic " + b64encode(f"api:{key}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def answer(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            self._check(Request(scope))
            await self._app(scope, receive, answer)
        except Exception as error:
            if has_begun:
                raise
            text = first_mistake(error) if isinstance(error, ValidationError) else str(error)
            await PlainTextResponse(text, _status(error))(scope, receive, answer)

    def _check(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if not is_local_host(host):
            raise RequestError(f"{host[:100]!r} is not this server.", 403)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin not in (None, f"http://{host}"):
            raise RequestError("Another site's page may not write here.", 403)
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        given = f"{kind.lower()} {value.strip()}".encode()
        is_keyed = request.url.path.startswith(_KEYED)  # not pages, and signed addresses
        if is_keyed and not hmac.compare_digest(given, self._authorization):
            raise RequestError("The tracker's key is missing or wrong.", 401)


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
    if not isinstance(error, ValidationError):
        _log.error("a request failed", exc_info=error)
    return 400
