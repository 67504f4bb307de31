"""What of a whole request reaches Gradio: the routes that this page uses, with values that were
checked. The requests themselves were checked by `lab_utils.middleware` before."""

import json
import re
import time
from collections import deque
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_utils.app.cache import cache_folder
from lab_utils.app.limits import (
    CACHE_CHECK_SECONDS,
    CACHE_SECONDS,
    LEAST_UPLOAD_BYTES,
    MAX_CACHE_BYTES,
)
from lab_utils.app.names import ENDPOINTS, READ_BASE64
from lab_utils.app.pictures import check_payload, check_texts
from lab_utils.middleware import RETRY_SECONDS, json_refusal
from lab_utils.service.schema import encode_reading
from text_recognizer.errors import RecognizerError

FORM = 'Send JSON of the form {"data": [IMAGE]} with the header Content-Type: application/json.'

# Gradio has more routes: they fetch addresses (`proxy=`, `file=http...`), keep what is posted
# (`component_server`), edit the app's own source (`vibe-...`). This page needs none of them.
_OPEN = re.compile(
    r"/(?:config|theme\.css|robots\.txt|favicon\.ico|manifest\.json|(?:assets|static|svelte)/.+"
    r"|gradio_api/(?:info|openapi\.json|app_id|user|login_check|startup-events|theme\.css|upload"
    r"|upload_progress|heartbeat/[^/]+|queue/(?:join|data|status)|cancel|reset|mcp(?:/.*)?"
    r"|file=(?!\w+:).*)/?)?"
)
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_CALL = re.compile(r"/gradio_api/(?:run|api|call)/([^/]+)(?:/[^/]+)?/?")
_WITH_DATA = re.compile(r"/gradio_api/(?:queue/join|call/[^/]+)/?")
_MCP = re.compile(r"/gradio_api/mcp(?:/.*)?")
_BOUNDARY = re.compile(r'multipart/form-data;.*\bboundary="?([^";]{1,70})"?', re.IGNORECASE)

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


class FormError(RecognizerError):
    """The body of a request is not of the form that its endpoint takes."""


class _Call(BaseModel):
    """What Gradio's routes take; what else is in it is theirs to check."""

    model_config = ConfigDict(extra="allow", strict=True)

    data: list[Any]
    batched: Literal[False] | None = None
    fn_index: int | None = None
    session_hash: Annotated[str, Field(max_length=100)] | None = None


Inputs = dict[int | str, list[type]]
"""Of each function of the page, by its number and by its endpoint's name, the JSON types that its
inputs take; null is taken as well."""


def data_in(body: bytes, inputs: Inputs, name: str | None = None) -> list:
    """The checked values in the JSON body of a call.

    Args:
        body: JSON, {"data": [...]}.
        inputs: what the functions take.
        name: the endpoint; None for the function whose number the body holds.

    Raises:
        FormError: the body has another form.
        ImageError, AddressError: a value names a file or an address that is not read.
    """
    try:
        call = _Call.model_validate_json(body.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError:
        raise FormError(FORM) from None
    types = inputs.get(call.fn_index if name is None else name)
    if types is None or len(types) != len(call.data):
        raise FormError(FORM)
    for value, kind in zip(call.data, types, strict=True):
        if value is not None and not isinstance(value, kind):
            raise FormError(FORM)
    check_payload(call.data, cache_folder())
    return call.data


class GradioRoutes:
    """ASGI middleware around Gradio's application; it gets whole requests."""

    def __init__(self, app: ASGIApp, inputs: Inputs) -> None:
        self._app, self._inputs = app, inputs
        self._uploads = RecentBytes(MAX_CACHE_BYTES, CACHE_SECONDS + CACHE_CHECK_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _closed(scope["path"])
        if refusal is None and scope["method"] == "POST":
            pieces = await _read(receive)
            refusal = self._refused_body(scope, b"".join(piece["body"] for piece in pieces))
            receive = _again(pieces, receive)
        await (refusal or self._app)(scope, receive, _with_headers(send))

    def _refused_body(self, scope: Scope, body: bytes) -> Response | None:
        path = scope["path"]
        if _UPLOAD.fullmatch(path):
            return self._refused_upload(Headers(scope=scope).get("content-type", ""), body)
        if _MCP.fullmatch(path):
            return _refused_tools(body)
        if not _WITH_DATA.fullmatch(path):
            return None
        call = _CALL.fullmatch(path)
        try:
            data_in(body, self._inputs, call[1] if call else None)
        except RecognizerError as error:
            return json_refusal(422, str(error))
        return None

    def _refused_upload(self, content_type: str, body: bytes) -> Response | None:
        found = _BOUNDARY.fullmatch(content_type)
        # A boundary is not in what it separates: one file has it before and after.
        if found is None or body.count(b"--" + found[1].encode()) != 2:
            return json_refusal(422, "Upload one file with each request, as multipart/form-data.")
        if not self._uploads.add(max(len(body), LEAST_UPLOAD_BYTES)):
            refusal = json_refusal(503, "The app holds too many pictures; try again later.")
            refusal.headers["retry-after"] = str(CACHE_CHECK_SECONDS)
            return refusal
        return None


class RecentBytes:
    """Counts what came within some time, which is at least what is still on the disk."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._came: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, count: int) -> bool:
        """Counts some bytes; False, and not counted, where there would be too many."""
        now = time.monotonic()
        while self._came and self._came[0][0] < now - self._seconds:
            self._sum -= self._came.popleft()[1]
        if self._sum + count > self._most:
            return False
        self._came.append((now, count))
        self._sum += count
        return True


async def run(request: Request, inputs: Inputs, read: dict[str, Any]) -> dict:
    """The values of a call in one step: {"data": [TEXT]}, and a note where the page was hard to
    read; raises RecognizerError.

    Args:
        request: to /gradio_api/run/ENDPOINT.
        inputs: what the functions take.
        read: the function of each endpoint.
    """
    name = request.path_params["endpoint"]
    (value,) = data_in(await request.body(), inputs, name)
    reading = await read[name](value)
    answer = encode_reading(reading, lines=True) if name == READ_BASE64 else reading.text
    return {"data": [answer]} | ({"note": reading.note} if reading.note else {})


def _closed(path: str) -> Response | None:
    call = _CALL.fullmatch(path)
    if call and call[1] in ENDPOINTS or _OPEN.fullmatch(path):
        return None
    if call:
        known = " and ".join(f"/{name}" for name in ENDPOINTS)
        return json_refusal(404, f"There is no such endpoint; there are {known}.")
    return json_refusal(404, "There is nothing here.")


def _refused_tools(body: bytes) -> Response | None:
    """Refuses addresses and files in the arguments of tools, which Gradio would fetch."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        return json_refusal(422, "Send one JSON object of the Model Context Protocol.")
    params = message.get("params")
    arguments = params.get("arguments") if isinstance(params, dict) else None
    try:
        check_texts(arguments)
        check_payload(arguments, cache_folder())
    except RecognizerError as error:
        # In the protocol's own form, which a client hands on to its model.
        result = {"isError": True, "content": [{"type": "text", "text": str(error)}]}
        return JSONResponse({"jsonrpc": "2.0", "id": message.get("id"), "result": result})
    return None


async def _read(receive: Receive) -> list[Message]:
    pieces: list[Message] = []
    while not pieces or pieces[-1].get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            break
        pieces.append({"body": b"", **message})
    return pieces


def _again(pieces: list[Message], receive: Receive) -> Receive:
    left = deque(pieces)

    async def give() -> Message:
        return left.popleft() if left else await receive()

    return give


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS.items() if name not in given]
            if message["status"] == 503 and b"retry-after" not in given:
                added.append((b"retry-after", str(RETRY_SECONDS).encode()))
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return with_headers
