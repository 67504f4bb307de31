"""What of a whole request reaches Gradio: the routes that this page uses, with values that were
checked. The requests themselves were checked by `lab_utils.middleware` before."""

import asyncio
import re
from collections import deque
from typing import Annotated, Literal

import gradio as gr
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab_utils.app.admission import BusyError
from lab_utils.app.events import Events, InternalError, ReaderAwayError
from lab_utils.app.limits import (
    CACHE_CHECK_SECONDS,
    MAX_CACHE_BYTES,
    MAX_INPUTS,
    MAX_JSON_VALUES,
)
from lab_utils.app.uploads import SentFile, cache_bytes
from lab_utils.middleware import RETRY_SECONDS, again, json_refusal
from text_recognizer.errors import ImageTooLargeError, RecognizerError

ENDPOINTS = ("predict", "predict_base64")

FORM = 'Send JSON of the form {"data": [IMAGE]} with the header Content-Type: application/json.'

# Gradio has more routes: they fetch addresses (`proxy=`, `file=http...`), keep what is posted
# (`component_server`), edit the app's own source (`vibe-...`). This page needs none of them.
_OPEN = re.compile(
    r"/(?:config|theme\.css|robots\.txt|favicon\.ico|manifest\.json|(?:assets|static|svelte)/.+"
    r"|gradio_api/(?:info|openapi\.json|app_id|user|login_check|startup-events|theme\.css|upload"
    r"|upload_progress|heartbeat/[^/]+|queue/(?:join|data|status)|cancel|reset"
    r"|file=(?!\w+:).*)/?)?"
)
_UPLOAD = re.compile(r"/gradio_api/upload/?")
_CALL = re.compile(r"/gradio_api/(?:run|api|call)/([^/]+)(?:/[^/]+)?/?")
_WITH_DATA = re.compile(r"/gradio_api/(?:queue/join|call/([^/]+))/?")
_BOUNDARY = re.compile(r'multipart/form-data;.*\bboundary="?([^";]{1,70})"?', re.IGNORECASE)

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'",
}
_STATUSES = {BusyError: 503, ReaderAwayError: 503, InternalError: 500, ImageTooLargeError: 413}


class _Call(BaseModel):
    """What Gradio's routes take; what else is in it is theirs to check."""

    model_config = ConfigDict(extra="allow", strict=True)

    # Bounded here, so that not each of a million values is made before they are counted.
    data: Annotated[list[SentFile | str | None], Field(max_length=MAX_INPUTS)]
    batched: Literal[False] | None = None
    fn_index: int | None = None
    session_hash: Annotated[str, Field(max_length=100)] | None = None


Inputs = dict[int | str, list[type]]
"""Of each function of the page, by its number and by its endpoint's name, the types that its inputs
take; None is taken as well."""


def inputs_of(page: gr.Blocks) -> Inputs:
    """The types of the inputs of a page's functions."""
    found: Inputs = {}
    for number, function in page.fns.items():
        is_file = [isinstance(one, gr.Image | gr.File) for one in function.inputs]
        types = [SentFile if one else str for one in is_file]
        found |= {number: types, function.api_name: types}
    return found


def checked(body: bytes, inputs: Inputs, endpoint: str | None = None) -> _Call:
    """The call in a JSON body, {"data": [...]}.

    Args:
        body: JSON.
        inputs: what the functions take.
        endpoint: its name; None for the function whose number the body holds.

    Raises:
        RecognizerError: the body has another form.
        ImageError, AddressError: a value names a file or an address that is not read.
    """
    try:
        call = _Call.model_validate_json(body.removeprefix(b"\xef\xbb\xbf"))
        types = inputs[call.fn_index if endpoint is None else endpoint]
        fits = [v is None or isinstance(v, kind) for v, kind in zip(call.data, types, strict=True)]
    except (LookupError, ValueError):  # pydantic's ValidationError is a ValueError
        fits = [False]
    if not all(fits):
        raise RecognizerError(FORM)
    for value in call.data:
        if isinstance(value, SentFile):
            value.check()
    return call


def add_one_step_calls(app: FastAPI, events: Events, inputs: Inputs) -> None:
    """Adds the API's calls in one step, with their own HTTP status codes.

    They answer {"data": [TEXT]}, and a note where the page was hard to read.
    """

    async def call(request: Request, endpoint: str) -> dict:
        sent = checked(await request.body(), inputs, endpoint).model_dump()
        reading = await events.reading(*sent["data"])
        return {"data": [reading.text]} | ({"note": reading.note} if reading.note else {})

    async def refused(_: Request, error: RecognizerError) -> Response:
        return json_refusal(_STATUSES.get(type(error), 422), str(error))

    for way in ("run", "api"):
        app.add_api_route(f"/gradio_api/{way}/{{endpoint}}", call, methods=["POST"])
    app.add_exception_handler(RecognizerError, refused)


class GradioRoutes:
    """ASGI middleware around Gradio's application; it gets whole requests."""

    def __init__(self, app: ASGIApp, inputs: Inputs) -> None:
        self._app, self._inputs = app, inputs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _closed(scope["path"])
        if refusal is None and scope["method"] == "POST":
            request = Request(scope, receive)
            body = await request.body()
            if _UPLOAD.fullmatch(scope["path"]):
                refusal = await _refused_upload(request.headers.get("content-type", ""), body)
            elif sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
                refusal = json_refusal(413, "The request has too many values.")
            elif call := _WITH_DATA.fullmatch(scope["path"]):
                try:
                    body = checked(body, self._inputs, call[1]).model_dump_json().encode()
                except RecognizerError as error:
                    refusal = json_refusal(422, str(error))
                # `curl -d` calls JSON a form.
                MutableHeaders(scope=scope)["content-type"] = "application/json"
            receive = again(deque([{"type": "http.request", "body": body}]), receive)
        await (refusal or self._app)(scope, receive, _with_headers(send))


def _closed(path: str) -> Response | None:
    call = _CALL.fullmatch(path)
    if call and call[1] in ENDPOINTS or _OPEN.fullmatch(path):
        return None
    known = " and ".join(f"/{name}" for name in ENDPOINTS)
    return json_refusal(404, f"There is no such endpoint; there are {known}.")


async def _refused_upload(content_type: str, body: bytes) -> Response | None:
    found = _BOUNDARY.fullmatch(content_type)
    # A boundary is not in what it separates: one file has it before and after.
    if found is None or body.count(b"--" + found[1].encode()) != 2:
        return json_refusal(422, "Upload one file with each request, as multipart/form-data.")
    # In a thread: the folder may hold thousands of files.
    if await asyncio.to_thread(cache_bytes) + len(body) > MAX_CACHE_BYTES:
        later = {"retry-after": str(CACHE_CHECK_SECONDS)}
        return json_refusal(503, "The app holds too many pictures; try again later.", later)
    return None


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if message["status"] == 503:
                headers.setdefault("retry-after", str(RETRY_SECONDS))
        await send(message)

    return with_headers
