"""The tracker's HTTP surface: GraphQL, streams of runs, uploads, downloads and the pages.

The routes do their work on the event loop itself: each takes milliseconds, SQLite has one writer
anyway, and at the end of a Python process, when `wandb` sends its last data, no new thread can be
started. No answer is a 5xx, since the SDK would repeat the request until it times out."""

import json
import mimetypes
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from lab_tracker import artifacts, limits, page, runs, streams
from lab_tracker.errors import NotFoundError, RequestError
from lab_tracker.graphql import execute
from lab_tracker.guard import Guard
from lab_tracker.names import checked_path
from lab_tracker.nodes import Nodes
from lab_tracker.operations import Operations
from lab_tracker.signing import Signer
from lab_tracker.storage import Store, Upload, now

_PIECE = 2**20
_SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")  # the rest is only downloaded


def create_app(store: Store, host: str = "127.0.0.1", pages_are_open: bool = True) -> FastAPI:
    """The application over a store. `host` is the name that clients may call it by."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    signer = Signer(store.key)
    app.add_middleware(Guard, key=store.key, host=host, pages_are_open=pages_are_open)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"server": "lab tracker"}

    @app.post("/graphql")
    async def graphql(request: Request) -> JSONResponse:
        body = await _body(request, limits.MAX_REQUEST_BYTES)
        nodes = Nodes(store, signer, str(request.base_url).rstrip("/"))
        return JSONResponse(execute(_json(body), Operations(nodes).roots()))

    @app.post("/files/{entity}/{project}/{run}/file_stream")
    async def file_stream(entity: str, project: str, run: str, request: Request) -> JSONResponse:
        body = await _body(request, limits.MAX_STREAM_BYTES)
        chunk = _json(body)
        if not isinstance(chunk, dict):
            raise RequestError("The chunk of a stream must be a JSON object.")
        streams.receive_stream(store, runs.find_run(store, entity, project, run), chunk)
        return JSONResponse({"exitcode": None, "limits": {}})

    @app.put("/-/uploads/runs/{run_id}/{signature}/{name:path}")
    async def upload_run_file(run_id: int, signature: str, name: str, request: Request) -> Response:
        _check(signer.verify(signature, "run", run_id, name))
        runs.run_by_id(store, run_id)
        upload = await _receive(store, request)
        try:
            digest = upload.finish()
            with upload.keep() as db:
                db.execute(
                    """INSERT INTO run_files (run_id, name, digest, updated_at) VALUES (?, ?, ?, ?)
                        ON CONFLICT (run_id, name) DO UPDATE
                        SET digest = excluded.digest, updated_at = excluded.updated_at""",
                    (run_id, checked_path(name), digest, now()),
                )
        finally:
            upload.drop()
        return Response()

    @app.put("/-/uploads/files/{artifact_id}/{digest}/{signature}")
    async def upload_artifact_file(
        artifact_id: int, digest: str, signature: str, request: Request
    ) -> Response:
        _check(signer.verify(signature, "file", artifact_id, digest))
        artifacts.artifact_by_id(store, artifact_id)
        upload = await _receive(store, request)
        try:
            if upload.finish() != digest:
                raise RequestError("The bytes that arrived are not those that were announced.")
            with upload.keep():
                pass
        finally:
            upload.drop()
        return Response()

    @app.put("/-/uploads/manifests/{artifact_id}/{signature}")
    async def upload_manifest(artifact_id: int, signature: str, request: Request) -> Response:
        _check(signer.verify(signature, "manifest", artifact_id))
        announced = artifacts.artifact_by_id(store, artifact_id)["manifest_md5"]
        upload = await _receive(store, request, limits.MAX_MANIFEST_BYTES)
        try:
            manifest_digest = upload.finish()
            if announced and manifest_digest != announced:
                raise RequestError("The manifest that arrived is not the one that was announced.")
            with upload.keep() as db:
                db.execute(
                    "UPDATE artifacts SET manifest_digest = ? WHERE id = ? AND state = 'PENDING'",
                    (manifest_digest, artifact_id),
                )
        finally:
            upload.drop()
        return Response()

    @app.get("/-/blobs/{digest}/{signature}/{name}")
    async def download(digest: str, signature: str, name: str, request: Request) -> Response:
        _check(signer.verify(signature, "blob", digest))
        if not store.has_blob(digest):
            raise NotFoundError("The file is not there; it may have been deleted.")
        return _file_response(store.blob_path(digest), name, request.headers.get("range"))

    app.include_router(page.router(store, signer))
    return app


def _check(is_right: bool) -> None:
    if not is_right:
        raise RequestError("The address is not one that this tracker gave.", status=403)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("The request's body is no JSON.") from None


async def _body(request: Request, limit: int) -> bytes:
    """The request's bytes, unpacked, at most `limit` of them at any moment."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise RequestError(f"The content encoding {encoding!r} is not known.", status=415)
    unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        try:
            # One byte more than allowed shows that there are too many.
            body += unpack.decompress(chunk, limit + 1 - len(body)) if unpack else chunk
        except zlib.error:
            raise RequestError("The request's body is no gzip.") from None
        if len(body) > limit:
            raise RequestError(f"The request has more than {limit} bytes.", status=413)
    if unpack and not unpack.eof:
        raise RequestError("The request's gzip ends too early.")
    return bytes(body)


async def _receive(store: Store, request: Request, limit: int | None = None) -> Upload:
    """The request's bytes as an upload: whole, or the temporary file is gone."""
    upload = store.receive(limit or limits.MAX_BLOB_BYTES)
    try:
        async for chunk in request.stream():
            upload.write(chunk)
    except BaseException:
        upload.drop()
        raise
    return upload


def _file_response(path: Path, name: str, wanted: str | None) -> Response:
    """The file, or the one range of it that is asked for."""
    size = path.stat().st_size
    kind = mimetypes.guess_type(name)[0]
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=31536000, immutable"}
    if kind not in _SHOWN:
        kind = "application/octet-stream"
        headers["Content-Disposition"] = "attachment"
    start, stop = 0, size
    if wanted and (found := _range(wanted, size)):
        start, stop = found
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    status = 206 if "Content-Range" in headers else 200

    async def pieces() -> AsyncIterator[bytes]:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            left = stop - start
            while left > 0 and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece

    return StreamingResponse(pieces(), status, headers, media_type=kind)


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """(start, stop) of `bytes=5-9`, `bytes=5-` or `bytes=-5`; None where all is to be sent."""
    unit, _, span = wanted.partition("=")
    first, dash, last = span.partition("-")
    if unit.strip() != "bytes" or not dash or not (first + last).isdecimal():
        return None
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else None
