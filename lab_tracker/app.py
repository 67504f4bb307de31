"""The tracker's HTTP surface: GraphQL, streams of runs, uploads, downloads and the pages.

The event loop only moves bytes. What reads or changes the store is done by one thread, one request
after the other (SQLite has one writer anyway), and files are written by another, so the server
still answers while a request is busy. No answer is a 5xx, since the SDK would repeat the request
until it times out."""

import mimetypes
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from lab_tracker import artifacts, limits, pages, runs, streams
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.graphql import execute
from lab_tracker.guard import Guard
from lab_tracker.nodes import Context
from lab_tracker.operations import FIELDS
from lab_tracker.storage import Store, Upload
from lab_tracker.worker import Worker

_PIECE = 2**20
_SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")  # the rest is only downloaded

# For each kind of upload: the table of what it belongs to, and what keeps it.
_UPLOADS = {
    "file": ("runs", runs.keep_file),
    "blob": ("artifacts", artifacts.keep_blob),
    "manifest": ("artifacts", artifacts.keep_manifest),
}


def create_app(store: Store, database: Worker, files: Worker) -> FastAPI:
    """The application over a store.

    Args:
        database: the thread that uses the store from now on.
        files: the thread that writes what is uploaded.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, key=store.key)

    async def do(function: Callable[..., Any], *given: Any) -> Any:
        """The result of a function that uses the store, within the budget of one request."""

        def bounded() -> Any:
            limits.start_budget()
            return function(*given)

        return await database.submit(bounded)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"server": "lab tracker"}

    @app.post("/graphql")
    async def graphql(request: Request) -> Response:
        body = await _body(request, limits.MAX_REQUEST_BYTES)
        context = Context(store, str(request.base_url).rstrip("/"))
        return await do(lambda: JSONResponse(execute(body, FIELDS, context)))

    @app.post("/files/{entity}/{project}/{run}/file_stream")
    async def file_stream(entity: str, project: str, run: str, request: Request) -> JSONResponse:
        body = await _body(request, limits.MAX_STREAM_BYTES)
        await do(streams.receive_stream, store, (entity, project, run), body)
        return JSONResponse({"exitcode": None, "limits": {}})

    @app.put("/-/uploads/{token}")
    async def receive(token: str, request: Request) -> Response:
        kind, number, name = store.signer.read(token)
        table, keep = _UPLOADS[kind]
        await do(store.get, table, number)
        is_manifest = kind == "manifest"
        limit = limits.MAX_MANIFEST_BYTES if is_manifest else limits.MAX_BLOB_BYTES
        working = files.submit(partial(Upload, store, limit))
        upload = await working
        try:
            async for piece in _pieces(request):  # one is written while the next one comes
                await working
                working = files.submit(partial(upload.write, piece))
            await working
            await files.submit(upload.finish)
            await do(keep, store, upload, number, name)
        finally:
            await files.submit(upload.drop)
        return Response()

    @app.get("/-/blobs/{token}/{name}")
    async def download(token: str, name: str) -> Response:
        [digest] = store.signer.read(token)
        if not await do(store.has_blob, digest):
            raise NotFoundError("The file does not exist; it may have been deleted.")
        kind = mimetypes.guess_type(name)[0]
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        if kind not in _SHOWN:
            kind = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        response = FileResponse(store.blob_path(digest), headers=headers, media_type=kind)
        response.chunk_size = _PIECE
        return response

    app.include_router(pages.router(store, do))
    return app


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The request's bytes in pieces of about a megabyte."""
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def _body(request: Request, limit: int) -> bytes:
    """The request's bytes, at most `limit`. The SDK packs them only for servers that ask for it."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("Packed requests are not read here; send the JSON as it is.", 415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RequestError(f"The request has more than {limit} bytes.", 413)
    return bytes(body)
