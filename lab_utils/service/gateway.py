"""An HTTP address on this machine before a pool of emulated functions: what a Function URL is on
AWS. Bounded in everything: bytes of a request, requests at once, requests that wait, seconds."""

import asyncio
import contextlib
import socket

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lab_utils.net import LocalServer, is_local_host
from lab_utils.service import wire
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import HttpAnswer, HttpRequest, answer_of, error, event_of
from lab_utils.service.pool import EmulatorPool
from lab_utils.service.wire import RequestError

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 9000

MAX_OPEN = 64
"""Requests at once, those included whose body is still on its way: 6 MB of memory each."""

BODY_SECONDS = 30.0
"""Time for a request's body to come in."""

_DRAINED_BYTES = 4 * wire.MAX_BODY_BYTES
_DRAIN_SECONDS = 5.0
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Gateway(LocalServer):
    """A server before a pool that runs, listening as soon as it is made; `start` or `run` answers.

    `port` 0 takes a free one. Raises ServiceError where the port cannot be had.
    """

    def __init__(self, pool: EmulatorPool, port: int = 0, host: str = LOOPBACK) -> None:
        self.pool = pool
        self.open_requests = 0
        """Requests that have begun and are not yet answered."""
        listening = _listen(host, port)
        self.port: int = listening.getsockname()[1]
        super().__init__(
            "gateway",
            f"http://{host}:{self.port}",
            Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)]),
            listening,
            ServiceError,
            http="h11",
        )

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _answer(self, request: Request) -> Response:
        self.open_requests += 1
        try:
            answer = await self._serve(request)
        except RequestError as refused:
            answer = error(refused.status, str(refused), refused.headers)
            await _drain(request)
        except ClientDisconnect:
            answer = error(400, "The connection closed before the request was whole.")
        finally:
            self.open_requests -= 1
        response = Response(answer.body, answer.status)
        response.raw_headers += [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in answer.headers
        ]
        return response

    async def _serve(self, request: Request) -> HttpAnswer:
        host = request.headers.get("host", "")
        if not is_local_host(host):
            raise wire.foreign_host(host)
        if self.open_requests > MAX_OPEN:
            raise RequestError(503, "The service is busy; try again in a second.", retry_after=1)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            raise RequestError(408, "The request came in too slowly; try again.") from None
        event = event_of(
            HttpRequest(
                request.method,
                request.scope["raw_path"].decode("latin-1"),
                request.url.query,
                [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in request.headers.raw
                ],
                body,
                request.client.host if request.client else "",
            )
        )
        if len(event) > wire.MAX_BODY_BYTES:  # the emulator would cut it off
            raise wire.too_large()

        async def still_wanted() -> bool:
            return not await request.is_disconnected()

        reply = await self.pool.invoke(event, still_wanted)
        if reply is None:
            raise ClientDisconnect
        return answer_of(*reply)


async def _body(request: Request) -> bytes:
    """The request's body; raises RequestError as soon as it is known to be too large."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > wire.MAX_BODY_BYTES:
        raise wire.too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > wire.MAX_BODY_BYTES:
            raise wire.too_large()
    return bytes(body)


async def _drain(request: Request) -> None:
    """Reads what is left of a refused request, within limits.

    A client that is still sending sees a broken connection otherwise, and not the answer.
    """
    left = _DRAINED_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in request.stream():
                left -= len(piece)
                if left < 0:
                    return


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise ServiceError(
            f"The service cannot listen on {host}:{port} ({reason}); give it another --port."
        ) from None
