"""The model as a Ray Serve application: replicas that read the pages that come together in batches.

`Edge` takes HTTP requests from Serve's proxy and checks them; `PageReader` has the model. Both are
ordinary deployments, see https://docs.ray.io/en/latest/serve/model_composition.html. `ray_service`
starts Ray and runs them.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import torch
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse

from lab_utils.middleware import RequestLimits
from lab_utils.service import schema
from lab_utils.service.ray_service import RaySettings
from lab_utils.service.schema import RequestError
from text_recognizer import decoding
from text_recognizer.errors import RecognizerError
from text_recognizer.images import LoadedImage, load_image
from text_recognizer.limits import MAX_BATCH
from text_recognizer.paragraph_text_recognizer import PageReading, ParagraphTextRecognizer

REQUEST_SECONDS = 60.0
"""A request is answered by then, waiting included, or refused."""
_MOST_REQUESTS = 256
"""Requests that are taken in at once."""


@serve.deployment
class PageReader:
    """One replica: a process with a copy of the model.

    Pages are decoded before they join a batch, so that a bad one fails by itself. All slow work
    runs in threads: Serve replaces a replica whose event loop doesn't answer.
    """

    def __init__(self, settings: RaySettings) -> None:
        decoding.start()
        self._recognizer = ParagraphTextRecognizer(settings.model)
        # PyTorch keeps the number of threads for each thread that calls it.
        self._reading = ThreadPoolExecutor(
            1, "reading", initializer=torch.set_num_threads, initargs=(settings.threads,)
        )
        self._is_free = asyncio.Event()
        self._is_free.set()
        self._read_batch.set_max_batch_size(settings.max_batch)
        self._read_batch.set_batch_wait_timeout_s(settings.max_wait_ms / 1000)

    async def read(self, source: str | bytes) -> tuple[PageReading, int]:
        """Reads one image, a data URI or the bytes of a file; also returns its batch's size."""
        page = await asyncio.to_thread(load_image, source)
        # Serve closes a batch when its wait is over, also if the one before is still being read.
        # Waiting here, pages that come meanwhile gather in one batch.
        await self._is_free.wait()
        reading, batch = await self._read_batch(page)
        if isinstance(reading, Exception):
            raise reading
        return reading, batch

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def _read_batch(
        self, pages: list[LoadedImage]
    ) -> list[tuple[PageReading | Exception, int]]:
        self._is_free.clear()
        try:
            loop = asyncio.get_running_loop()
            readings = await loop.run_in_executor(self._reading, self._read_all, pages)
        finally:
            self._is_free.set()
        return [(reading, len(pages)) for reading in readings]

    def _read_all(self, pages: list[LoadedImage]) -> list[PageReading | Exception]:
        """The readings in order; a page that breaks the model has the error in its place."""
        try:
            return self._recognizer.read_batch(pages)
        except Exception as error:
            if len(pages) == 1:
                return [error]
            return [self._read_all([page])[0] for page in pages]


# Above `Edge`: Serve copies its methods when it decorates the class, with the names they know then.
def _for_the_client(error: Exception) -> Exception:
    """Ray's errors as requests to try again; unforeseen ones go to the log."""
    if isinstance(error, BackPressureError):
        return RequestError(503, "The service is busy; try again in 1 s.", retry_after=1)
    if isinstance(error, RayActorError | DeploymentUnavailableError):
        # Reading changes nothing, so another replica can read the same page.
        return RequestError(
            503, "The replica that read this page is gone; send the request again.", retry_after=1
        )
    if not isinstance(error, RecognizerError | TimeoutError):
        logging.getLogger("ray.serve").error("A request failed.", exc_info=error)
    return error


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(
    RequestLimits,
    most_bytes=schema.MAX_BODY_BYTES,
    methods=("GET", "HEAD", "POST"),
    most_open_bytes=_MOST_REQUESTS // 4 * schema.MAX_BODY_BYTES,
)


@serve.deployment(max_ongoing_requests=_MOST_REQUESTS)
@serve.ingress(app)
class Edge:
    """Answers POST with readings, and GET with the health of the service.

    The header `x-batch` says how many pages were in a page's batch; for several images, a list.
    """

    def __init__(self, reader: DeploymentHandle, settings: RaySettings) -> None:
        self._reader, self._settings = reader, settings

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST"])
    async def answer(self, request: Request) -> JSONResponse:
        headers = {"cache-control": "no-store"}
        try:
            if request.method != "POST":
                status, document = 200, schema.health(request.url.path, self._settings.model)
            else:
                question = schema.parse_request(await request.body())
                found = await asyncio.wait_for(self._read(question), REQUEST_SECONDS)
                readings, batches = zip(*found, strict=True)
                status, document = 200, schema.encode_answer(question, readings)
                headers["x-batch"] = ",".join(map(str, batches))
        except Exception as error:
            error = _for_the_client(error)
            status, document = schema.error_answer(error)
            headers |= error.headers if isinstance(error, RequestError) else {}
        return JSONResponse(document, status, headers)

    async def _read(self, question: schema.Request) -> list[tuple[PageReading, int]]:
        sources = await asyncio.to_thread(
            schema.image_sources,
            question,
            allow_private_addresses=self._settings.allow_private_addresses,
        )
        found = await asyncio.gather(*map(self._read_one, sources), return_exceptions=True)
        for number, one in enumerate(found, 1):
            if isinstance(one, RecognizerError) and len(found) > 1:
                raise type(one)(f"Image {number} of {len(found)}: {one}")
            if isinstance(one, BaseException):
                raise one
        return found

    async def _read_one(self, source: str | bytes) -> tuple[PageReading, int]:
        try:
            return await self._reader.read.remote(source)
        except RayTaskError as error:
            raise error.cause from None  # as the replica raised it


def deploy(settings: RaySettings) -> None:
    """Runs the application on the cluster that this process is connected to.

    Raises ModelFileError for a model that can't be used.
    """
    # Found here, a bad file costs one sentence; found by the replicas, it costs the replicas.
    ParagraphTextRecognizer(settings.model)
    reader = PageReader.options(
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.threads},
        # One batch is being read while the next one gathers.
        max_ongoing_requests=2 * settings.max_batch,
        max_queued_requests=settings.queue_size,
        graceful_shutdown_wait_loop_s=0.2,
    ).bind(settings)
    # Beside the proxy: another node may go away.
    beside = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    edge = Edge.options(ray_actor_options=beside, graceful_shutdown_wait_loop_s=0.2)
    serve.run(edge.bind(reader, settings), name="pages", route_prefix="/")
