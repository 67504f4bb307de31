"""A local HTTP server in front of Lambda functions: a Function URL as on AWS.

A request goes to a function that is idle, as Lambda starts another instance for each request that
comes while the others are busy. A few requests wait, and more are refused.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lab_utils.middleware import RequestLimits
from lab_utils.net import LOOPBACK, LocalServer, listening_socket
from lab_utils.service import schema
from lab_utils.service.emulator import Emulator, EmulatorDownError, Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import TIMED_OUT, answer_of, error, event_of
from lab_utils.service.schema import RequestError

DEFAULT_PORT = 9000
QUEUE_SIZE = 16
"""Requests that may wait."""
MAX_OPEN = 64
"""Largest bodies that may be in memory at once; smaller ones may be more."""

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_PAUSES = (0.0, 1.0, 5.0, 15.0, 60.0)
"""s before each attempt to start a function again; the last one repeats."""
_log = logging.getLogger(__name__)

Handler = Callable[[Any], dict[str, Any]]


class InProcessFunction:
    """A handler in this process in place of an `Emulator`, without a limit of time.

    What JSON can't carry fails here as it does on Lambda.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def start(self) -> None:
        """The handler has its model already."""

    def stop(self) -> None:
        """Nothing was started."""

    def invoke(self, event: bytes) -> Reply:
        """Calls the handler."""
        return Reply(200, json.dumps(self._handler(json.loads(event))).encode())


Function = Emulator | InProcessFunction


class Gateway(LocalServer):
    """A server in front of functions, which run inside the `with` block.

    The port is taken at once, so a taken one costs no start of a function; `start` or `run`
    answers.

    Args:
        functions: how many there are is how many requests are served at a time.
        port: 0 takes a free one.
        queue_size: requests that may wait; more are refused with 503.

    Raises ServiceError if the port can't be used, or a function doesn't start.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        port: int = 0,
        queue_size: int = QUEUE_SIZE,
        host: str = LOOPBACK,
    ) -> None:
        listening = listening_socket(port, host, ServiceError)
        self.port: int = listening.getsockname()[1]
        self.functions = list(functions)
        self.present = 0
        """Requests that wait or are served."""
        self._most = len(self.functions) + queue_size
        self._idle: asyncio.Queue[Function] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(thread_name_prefix="function")
        self._tasks: set[asyncio.Task] = set()
        self._stopping = False
        limits = Middleware(
            RequestLimits,
            most_bytes=schema.MAX_BODY_BYTES,
            most_open_bytes=MAX_OPEN * schema.MAX_BODY_BYTES,
        )
        app = Starlette(
            routes=[Route("/{path:path}", self._answer, methods=_METHODS)], middleware=[limits]
        )
        url = f"http://{host}:{self.port}"
        super().__init__("gateway", url, app, listening, ServiceError, http="h11")

    def __enter__(self) -> "Gateway":
        try:
            for started in [self._threads.submit(one.start) for one in self.functions]:
                started.result()
        except BaseException:
            self.__exit__()
            raise
        for function in self.functions:
            self._idle.put_nowait(function)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stopping = True
        for function in self.functions:
            function.stop()
        self._threads.shutdown(cancel_futures=True)
        for function in self.functions:  # one may just have been started again
            function.stop()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._serve(request)
        except RequestError as refused:
            return error(refused.status, str(refused), refused.headers)
        except ClientDisconnect:
            return error(400, "The connection closed before the request was answered.")

    async def _serve(self, request: Request) -> Response:
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
        if self.present >= self._most:
            raise RequestError(503, "The service is busy; try again in a second.", retry_after=1)
        self.present += 1
        try:
            function = await self._idle.get()
            if await request.is_disconnected():
                self._idle.put_nowait(function)
                raise ClientDisconnect
            # The function is busy until the task ends, also if the client leaves.
            return answer_of(*await asyncio.shield(self._task(self._invoke(function, event))))
        finally:
            self.present -= 1

    async def _invoke(self, function: Function, event: bytes) -> Reply:
        survived = False
        try:
            reply = await self._in_thread(function.invoke, event)
            survived = reply.status == 200 and not reply.body.startswith(TIMED_OUT)
            return reply
        except EmulatorDownError:
            raise RequestError(
                502, "The function died on this request; try again.", retry_after=1
            ) from None
        except TimeoutError:
            return Reply(200, TIMED_OUT)
        finally:
            if survived:
                self._idle.put_nowait(function)
            else:
                self._task(self._restart(function))

    async def _restart(self, function: Function) -> None:
        """Brings a function back, however often that has to be tried."""
        attempt = 0
        while not self._stopping:
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1
            try:
                await self._in_thread(function.start)
            except ServiceError as failed:
                _log.warning("%s", failed)
            else:
                self._idle.put_nowait(function)
                return

    async def _in_thread(self, work: Callable, *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _task(self, work: Any) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop holds tasks only weakly
        task.add_done_callback(self._tasks.discard)
        return task
