"""What reaches Gradio, decided before any of its routes: requests to the right host, with a body of
bounded size, and of its many routes those that this app uses."""

import logging
import re
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_utils.app.cache import cache_bytes
from lab_utils.app.limits import MAX_CACHE_BYTES, MAX_OPEN_BODY_BYTES, MAX_REQUEST_BYTES
from lab_utils.app.names import ENDPOINTS
from lab_utils.net import host_name, is_local_host

_log = logging.getLogger(__name__)

STATUS = "lab.status"
"""Key in the scope under which an event leaves the HTTP status of its error; Gradio's is 500."""

ANY_HOST = "*"
RETRY_SECONDS = 2

# Gradio fetches addresses for whoever asks (`proxy=`, `file=http...`), keeps what is posted
# (`component_server`), edits its own source (`vibe-...`) and more; this page needs none of that.
_OPEN = re.compile(
    r"/gradio_api/(info|openapi\.json|app_id|user|login_check|startup-events|theme\.css|upload"
    r"|upload_progress|heartbeat/[^/]+|queue/(join|data|status)|cancel|reset|mcp(/.*)?"
    r"|file=(?!\w+:).*)/?"
)
_UPLOAD = "/gradio_api/upload"
_CALL = re.compile(r"/gradio_api/(?:run|api|call|call/v2)/([^/]+)(/[^/]+)?/?")
_CLOSED = re.compile(r"/(gradio_api|monitoring|custom_component|dev)(/.*)?")

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"content-security-policy": _POLICY.encode(),
}


class Guard:
    """ASGI middleware around Gradio's application.

    A web page of another site must not reach a server that listens on this machine alone. Its
    requests under a name of its own that resolves to this machine (DNS rebinding) are told by the
    Host header: an address in numbers cannot be rebound, and of names only `hosts` are taken. Its
    cross-site writes are told by the Origin header.

    Args:
        hosts: names under which the server may be asked, besides localhost and addresses in
            numbers; `ANY_HOST` among them for all, as a tunnel needs that chooses its name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts} | {"localhost"}
        self._open_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _WithHeaders(send, scope))
            return
        body = _BoundedBody(receive, self._room_for)
        answer = _WithHeaders(send, scope)
        try:
            await self._app(scope, body, answer.unless(body))
        except Exception as error:
            if answer.has_begun:
                raise
            if body.refusal is None:
                body.refusal = _failed(error)
        finally:
            self._open_bytes -= body.bytes
        if body.refusal is not None and not answer.has_begun:
            await body.refusal(scope, receive, answer)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._is_own(host):
            return _error(
                403,
                f"{host[:100]!r} is not a name of this app; "
                "ask under its address, or start it with --allow-host.",
            )
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not self._is_same(origin, host):
            return _error(403, "Another site's page may not use this app.")
        if _CLOSED.fullmatch(path):
            call = _CALL.fullmatch(path)
            if call and call[1] not in ENDPOINTS:
                known = " and ".join(f"/{name}" for name in ENDPOINTS)
                return _error(404, f"There is no such endpoint; there are {known}.")
            if not call and not _OPEN.fullmatch(path):
                return _error(404, "There is nothing here.")
        is_upload = scope["method"] == "POST" and path.startswith(_UPLOAD)
        if is_upload and cache_bytes() > MAX_CACHE_BYTES:
            return _error(503, "The app holds too many pictures; try again in some minutes.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            return _too_large()
        return None

    def _is_own(self, host: str) -> bool:
        return ANY_HOST in self._hosts or is_local_host(host, self._hosts)

    def _is_same(self, origin: str | None, host: str) -> bool:
        """Whether a write comes from the app's own page, or from no page at all.

        A tunnel may ask this machine under another name than the browser asks the tunnel, so
        names that were allowed are taken as origins, too.
        """
        if origin is None or origin.partition("://")[2] == host:
            return True
        return ANY_HOST in self._hosts or host_name(origin.partition("://")[2]) in self._hosts

    def _room_for(self, count: int) -> bool:
        if self._open_bytes + count > MAX_OPEN_BODY_BYTES:
            return False
        self._open_bytes += count
        return True


class _BodyRefusedError(Exception):
    """Ends whoever reads the body."""


class _BoundedBody:
    """Hands a body on piece by piece while it is within the limits; also one of unknown length."""

    def __init__(self, receive: Receive, room_for: Callable[[int], bool]) -> None:
        self._receive, self._room_for = receive, room_for
        self.bytes = 0
        self.refusal: Response | None = None

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            if self.bytes + count > MAX_REQUEST_BYTES:
                self.refusal = _too_large()
            elif not self._room_for(count):
                self.refusal = _busy()
            if self.refusal is not None:
                raise _BodyRefusedError
            self.bytes += count
        return message


class _WithHeaders:
    """Sends an answer on, with the headers that each one has and the status that an event left."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._status: dict[str, int] = scope.setdefault(STATUS, {})
        self.has_begun = False

    def unless(self, body: _BoundedBody) -> Send:
        """Drops what FastAPI says of a body that was refused: it takes that for damaged."""

        async def send(message: Message) -> None:
            if body.refusal is None:
                await self(message)

        return send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS.items() if name not in given]
            if message["status"] == 500 and "status" in self._status:
                status = self._status["status"]
                message["status"] = status
                if status == 503:
                    added.append((b"retry-after", str(RETRY_SECONDS).encode()))
            message["headers"] = [*message["headers"], *added]
        await self._send(message)


def leave_status(scope: Scope | None, status: int) -> None:
    """Sets the HTTP status of the error that Gradio is about to answer a direct call with."""
    if scope is not None and STATUS in scope:
        scope[STATUS]["status"] = status


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status, headers)


def _too_large() -> Response:
    # The rest of the body is not read, so the connection is of no more use.
    return _error(
        413,
        f"The request has more than {MAX_REQUEST_BYTES / 1e6:.0f} MB, the most that is taken; "
        "make the image smaller.",
        {"connection": "close"},
    )


def _busy() -> Response:
    return _error(
        503,
        "The reader is busy with large images; try again in a few seconds.",
        {"connection": "close", "retry-after": str(RETRY_SECONDS)},
    )


def _failed(error: Exception) -> Response:
    """The answer where Gradio raised something: it does so for a function's number that is none."""
    if isinstance(error, KeyError):
        return _error(404, "There is no such endpoint.")
    _log.error("a request failed", exc_info=error)
    return _error(500, "The app failed on this request; its log says why.")


async def invalid_request(_request: Request, _exception: Exception) -> Response:
    """The answer to a body that is no JSON of Gradio's form: short, whatever the body holds."""
    return _error(422, 'The body is not of this endpoint\'s form; send JSON: {"data": [IMAGE]}.')


async def refused_request(_request: Request, exception: HTTPException) -> Response:
    """Gradio's answer to what it refuses itself; its page reads `detail`, our clients `error`."""
    detail = exception.detail
    sentence = detail.get("error") if isinstance(detail, dict) else str(detail)
    content = {"detail": detail, "error": sentence}
    return JSONResponse(content, exception.status_code, exception.headers)
