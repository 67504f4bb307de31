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

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from lab_utils.middleware import RequestLimits, json_refusal
from lab_utils.net import LocalServer, listening_socket
from lab_utils.service import schema
from lab_utils.service.emulator import Emulator, Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import answer_of, event_of

DEFAULT_PORT = 9000
QUEUE_SIZE = 16
"""Requests that may wait."""
MAX_OPEN = 64
"""Largest bodies that may be in memory at once; smaller ones may be more."""

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
    """A server in front of functions: inside the `with` block they run, and it answers.

    The port is taken at once, so a taken one costs no start of a function.

    Args:
        functions: how many there are is how many requests are served at a time.
        port: 0 takes a free one.
        queue_size: requests that may wait; more are refused with 503.

    Raises ServiceError if the port can't be used, or a function doesn't start.
    """

    def __init__(
        self, functions: Sequence[Function], port: int = 0, queue_size: int = QUEUE_SIZE
    ) -> None:
        listening = listening_socket(port, error=ServiceError)
        self.functions = list(functions)
        self.present = 0
        """Requests that wait or are served."""
        self._most = len(self.functions) + queue_size
        self._idle: asyncio.Queue[Function] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(len(self.functions), "function")
        app = RequestLimits(
            request_response(self._answer),
            most_bytes=schema.MAX_BODY_BYTES,
            most_open_bytes=MAX_OPEN * schema.MAX_BODY_BYTES,
        )
        super().__init__("gateway", app, listening, ServiceError, http="h11")

    def __enter__(self) -> "Gateway":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Starts the functions and answers; what `with` does at its begin."""
        try:
            list(self._threads.map(lambda function: function.start(), self.functions))
            for function in self.functions:
                self._idle.put_nowait(function)
            self.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the server and its functions."""
        self.stop()
        for function in self.functions:
            function.stop()
        self._threads.shutdown(cancel_futures=True)
        for function in self.functions:  # one may just have been started again
            function.stop()

    async def _answer(self, request: Request) -> Response:
        event = event_of(
            request.method,
            request.scope["raw_path"].decode("latin-1"),
            request.url.query,
            request.headers.items(),
            await request.body(),
            request.client.host if request.client else "",
        )
        if len(event) > schema.MAX_BODY_BYTES:  # the emulator would cut it off
            return json_refusal(413, str(schema.too_large()))
        if self.present >= self._most:
            return json_refusal(
                503, "The service is busy; try again in a second.", {"retry-after": "1"}
            )
        self.present += 1
        try:
            return await self._invoke(request, event)
        finally:
            self.present -= 1

    async def _invoke(self, request: Request, event: bytes) -> Response:
        function = await self._idle.get()
        try:
            if await request.is_disconnected():
                return json_refusal(400, "The connection closed before the request was answered.")
            loop = asyncio.get_running_loop()
            return answer_of(*await loop.run_in_executor(self._threads, function.invoke, event))
        except ServiceError as failed:
            logging.getLogger(__name__).warning("%s", failed)
            return json_refusal(502, "The function does not start; the reason is in its log.")
        finally:
            self._idle.put_nowait(function)
