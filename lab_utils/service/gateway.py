"""A local HTTP server in front of a pool of emulated Lambda functions: a Function URL as on AWS."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lab_utils.middleware import RequestLimits
from lab_utils.net import LOOPBACK, LocalServer, listening_socket
from lab_utils.service import schema
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import answer_of, error, event_of
from lab_utils.service.pool import EmulatorPool
from lab_utils.service.schema import RequestError

DEFAULT_PORT = 9000

MAX_OPEN = 64
"""Largest bodies that may be in memory at once; smaller ones may be more."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Gateway(LocalServer):
    """A server in front of a running pool. It listens at once; `start` or `run` answers.

    `port` 0 takes a free one. Raises ServiceError where the port can't be used.
    """

    def __init__(self, pool: EmulatorPool, port: int = 0, host: str = LOOPBACK) -> None:
        self.pool = pool
        listening = listening_socket(port, host, ServiceError)
        self.port: int = listening.getsockname()[1]
        limits = Middleware(
            RequestLimits,
            most_bytes=schema.MAX_BODY_BYTES,
            most_open_bytes=MAX_OPEN * schema.MAX_BODY_BYTES,
        )
        super().__init__(
            "gateway",
            f"http://{host}:{self.port}",
            Starlette(
                routes=[Route("/{path:path}", self._answer, methods=_METHODS)], middleware=[limits]
            ),
            listening,
            ServiceError,
            http="h11",
        )

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._invoke(request)
        except RequestError as refused:
            return error(refused.status, str(refused), refused.headers)
        except ClientDisconnect:
            return error(400, "The connection closed before the request was answered.")

    async def _invoke(self, request: Request) -> Response:
        event = event_of(
            request.method,
            request.scope["raw_path"].decode("latin-1"),
            request.url.query,
            request.headers.items(),
            await request.body(),
            request.client.host if request.client else "",
        )
        if len(event) > schema.MAX_BODY_BYTES:  # the emulator would cut it off
            raise schema.too_large()

        async def still_wanted() -> bool:
            return not await request.is_disconnected()

        reply = await self.pool.invoke(event, still_wanted)
        if reply is None:
            raise ClientDisconnect
        return answer_of(*reply)
