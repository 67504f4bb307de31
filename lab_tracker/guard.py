"""Who may ask the server what, decided before any route: the right host, the right page, the key.

This protects against a web page that the student happens to have open: names that resolve to this
machine (DNS rebinding) and writes from another origin are refused; nothing is shared by CORS."""

import hmac
import logging
import sqlite3
from base64 import b64decode

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from lab_tracker.errors import RequestError
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


class Guard(BaseHTTPMiddleware):
    """Turns every exception into an answer below 500: after a 5xx, the SDK would repeat the request
    until it times out."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        super().__init__(app)
        self._key = key

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            self._check(request)
            response = await call_next(request)
        except Exception as error:
            response = PlainTextResponse(str(error), _status(error))
        response.headers.update(_HEADERS)
        return response

    def _check(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if not is_local_host(host):
            raise RequestError(f"{host[:100]!r} is not this server.", 403)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin not in (None, f"http://{host}"):
            raise RequestError("Another site's page may not write here.", 403)
        if not request.url.path.startswith(_KEYED):
            return  # pages, and signed addresses
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if not hmac.compare_digest(_key_in(kind, value).encode(), self._key.encode()):
            raise RequestError("The tracker's key is missing or wrong.", 401)


def _key_in(kind: str, value: str) -> str:
    """The key in an Authorization header; empty if there is none."""
    if kind.lower() == "bearer":
        return value.strip()
    try:
        return b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


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
