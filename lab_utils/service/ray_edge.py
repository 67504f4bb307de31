"""The HTTP edge before the replicas: an ASGI application that speaks the wire's JSON, with limits.

Serve's own HTTP proxy is left out, since it takes in bodies without a limit, and answers a full
queue with plain text and a dead replica with a bare 500, which no client can tell from a bug.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from lab_utils.net import is_local_host
from lab_utils.service import wire
from lab_utils.service.ray_app import Answer
from lab_utils.service.wire import RequestError
from text_recognizer.errors import RecognizerError

BODY_SECONDS = 30.0
"""A request's body has arrived by then, or is given up."""

REQUEST_SECONDS = 60.0
"""A page is read by then, waiting included, or is given up."""

MAX_OPEN_REQUESTS = 128
"""Requests taken in at once. Each may hold a body of 6 MiB, so this bounds the memory."""

RETRY_SECONDS = 1

logger = logging.getLogger(__name__)

Health = Callable[[], tuple[int, dict[str, Any]]]


class Edge:
    """Answers POST with readings and GET with the service's health.

    Response headers tell how a page was read: `x-batch` the pages in its batch, `x-model` the
    model's fingerprint, `x-node` the machine; of several images, a list.

    Args:
        replicas: handle of the deployment.
        health: status and document of a health answer; may block.
        fetching: runs downloads of image_url, in threads that have the network.
        allow_private_addresses: whether an image_url may lie inside a private network.
    """

    def __init__(
        self,
        replicas: DeploymentHandle,
        health: Health,
        fetching: Executor,
        allow_private_addresses: bool = False,
    ) -> None:
        self._replicas, self._health, self._fetching = replicas, health, fetching
        self._allow_private_addresses = allow_private_addresses
        self._open = 0

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            status, document, headers = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:
            status, document, headers = _failure(error)
        headers = {"cache-control": "no-store", **headers}
        await JSONResponse(document, status, headers)(scope, receive, send)

    async def _answer(self, request: Request) -> tuple[int, dict, dict[str, str]]:
        host = request.headers.get("host", "")
        if not is_local_host(host):
            raise wire.foreign_host(host)
        if request.method in ("GET", "HEAD"):
            if request.url.path not in ("/", "/health"):
                raise RequestError(404, "There is nothing here; send a POST with an image to /.")
            return *await asyncio.to_thread(self._health), {}
        if request.method != "POST":
            raise wire.wrong_method()
        with self._counted():
            question = wire.parse_request(await _body(request))
            work = asyncio.wait_for(self._read(question), REQUEST_SECONDS)
            answers = await _unless_disconnected(work, request)
        document = wire.encode_answer(question, [answer.reading for answer in answers])
        return 200, document, _told(answers)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._open >= MAX_OPEN_REQUESTS:
            raise _busy()
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _read(self, question: wire.Request) -> list[Answer]:
        loop = asyncio.get_running_loop()
        if question.image_url is None:
            sources = question.images
        else:
            sources = await loop.run_in_executor(self._fetching, self._fetch, question)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._read_one(source)) for source in sources]
        answers = [task.result() for task in tasks]
        for number, answer in enumerate(answers, 1):
            if answer.refusal is not None:
                where = f"Image {number} of {len(answers)}: " if len(answers) > 1 else ""
                raise type(answer.refusal)(f"{where}{answer.refusal}")
        return answers

    def _fetch(self, question: wire.Request) -> list[str | bytes]:
        return wire.image_sources(question, allow_private_addresses=self._allow_private_addresses)

    async def _read_one(self, source: str | bytes) -> Answer:
        return await self._replicas.read.remote(source)


async def _body(request: Request) -> bytes:
    """The request's body, read no further than it may be long."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > wire.MAX_BODY_BYTES:
        raise wire.too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                wire.check_body_size(body)
    except TimeoutError:
        raise RequestError(
            408, f"The request did not arrive within {BODY_SECONDS:g} s; send it once more."
        ) from None
    return bytes(body)


async def _unless_disconnected(work: Awaitable, request: Request) -> list[Answer]:
    """The result of the work, which is given up where nobody waits for it any more."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(answers: list[Answer]) -> dict[str, str]:
    return {
        "x-batch": ",".join(str(answer.batch) for answer in answers),
        "x-model": ",".join(answer.model for answer in answers),
        "x-node": ",".join(answer.node for answer in answers),
    }


def _busy() -> RequestError:
    return RequestError(
        503, f"The service is busy; try again in {RETRY_SECONDS} s.", retry_after=RETRY_SECONDS
    )


def _failure(error: Exception) -> tuple[int, dict, dict[str, str]]:
    """Status, document and headers for what was raised while a request was served."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BackPressureError):
        error = _busy()
    elif isinstance(error, RayActorError | DeploymentUnavailableError):
        # Reading changes nothing, so the request can go to another replica as it is.
        error = RequestError(
            503,
            "The replica that read this page is gone; send the request once more.",
            retry_after=RETRY_SECONDS,
        )
    elif not isinstance(error, RecognizerError | TimeoutError):
        logger.error("A request failed.", exc_info=error)
    status, document = wire.error_answer(error)
    return status, document, error.headers if isinstance(error, RequestError) else {}
