"""The tracker's HTTP surface: GraphQL, streams of runs, uploads, downloads and the pages.

The event loop only moves bytes. What reads or changes the store is done by one thread, one request
after the other (SQLite has one writer anyway), and files are written by another, so the server
still answers while a request is busy. No answer is a 5xx, since the SDK would repeat the request
until it times out."""

import mimetypes
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from lab_tracker import artifacts, limits, pages, runs, streams
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.graphql import execute
from lab_tracker.guard import Guard
from lab_tracker.names import load_json
from lab_tracker.nodes import Nodes
from lab_tracker.operations import roots
from lab_tracker.signing import Signer
from lab_tracker.storage import Store, Upload
from lab_tracker.worker import Worker

_PIECE = 2**20
_SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")  # the rest is only downloaded


class _Download(FileResponse):
    chunk_size = _PIECE


def create_app(store: Store, database: Worker, files: Worker) -> FastAPI:
    """The application over a store.

    Args:
        database: the thread that uses the store from now on.
        files: the thread that writes what is uploaded.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    signer = Signer(store.key)
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
        nodes = Nodes(store, signer, str(request.base_url).rstrip("/"))

        def answer() -> Response:
            asked = load_json(body, "The request's body")
            return JSONResponse(execute(asked, roots(nodes)))

        return await do(answer)

    @app.post("/files/{entity}/{project}/{run}/file_stream")
    async def file_stream(entity: str, project: str, run: str, request: Request) -> JSONResponse:
        body = await _body(request, limits.MAX_STREAM_BYTES)

        def receive() -> None:
            found = runs.find_run(store, entity, project, run)
            streams.receive_stream(store, found, load_json(body, "The request's body"))

        await do(receive)
        return JSONResponse({"exitcode": None, "limits": {}})

    @app.put("/-/uploads/{token}")
    async def receive(token: str, request: Request) -> Response:
        kind, number, name = signer.read(token)
        keep = {
            "file": runs.keep_file,
            "blob": artifacts.keep_blob,
            "manifest": artifacts.keep_manifest,
        }[kind]
        await do(store.get, "runs" if kind == "file" else "artifacts", number)
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
        [digest] = signer.read(token)
        if not await do(store.has_blob, digest):
            raise NotFoundError("The file does not exist; it may have been deleted.")
        kind = mimetypes.guess_type(name)[0]
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        if kind not in _SHOWN:
            kind = "application/octet-stream"
            headers["Content-Disposition"] = "attachment"
        return _Download(store.blob_path(digest), headers=headers, media_type=kind)

    app.include_router(pages.router(store, signer, do))
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
    """The request's bytes, unpacked, at most `limit` of them at any moment."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise RequestError(f"The content encoding {encoding!r} is not known.", status=415)
    unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        if unpack and unpack.eof and chunk:
            raise RequestError("The request goes on after the end of its gzip.")
        try:
            # One byte more than allowed shows that there are too many.
            body += unpack.decompress(chunk, limit + 1 - len(body)) if unpack else chunk
        except zlib.error:
            raise RequestError("The request's body is not gzip.") from None
        if len(body) > limit:
            raise RequestError(f"The request has more than {limit} bytes.", status=413)
    if unpack and (not unpack.eof or unpack.unused_data):
        raise RequestError("The request's gzip ends too early or too late.")
    return bytes(body)
