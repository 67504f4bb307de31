"""The model with Ray Serve: pages that come at the same time are read in one batch.

`Edge` takes HTTP requests from Serve's proxy and checks them; `PageReader` has the model. Both are
ordinary deployments, see https://docs.ray.io/en/latest/serve/model_composition.html. Call
`ray_environment.prepare_ray` before you import this module. Only what reads imports PyTorch, so the
edge starts sooner and stays small.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse

from lab_utils.middleware import RequestLimits
from lab_utils.net import LOOPBACK
from lab_utils.service import schema
from lab_utils.service.errors import ServiceError
from lab_utils.service.schema import RequestError
from text_recognizer import decoding
from text_recognizer.errors import RecognizerError
from text_recognizer.images import LoadedImage, load_image
from text_recognizer.limits import MAX_BATCH

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

REQUEST_SECONDS = 60.0
"""A request is answered by then, waiting included, or refused."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory for images on their way to a replica; Ray writes to the disk what is too much."""
_MOST_REQUESTS = 256
"""Requests that are taken in at once."""
_STARTS = 4
"""Ray gives a node 30 s to find itself, and has no setting for that."""


@dataclass(frozen=True)
class RaySettings:
    """How pages are read; see `lab service ray --help`."""

    model: str
    """TorchScript file, found under this path on every machine of the cluster."""
    replicas: int = 1
    max_batch: int = MAX_BATCH
    """Most pages that are read at once."""
    max_wait_ms: float = 10.0
    """How long the first page of a batch waits for others while the replica has nothing to do."""
    queue_size: int = 32
    """Pages that wait for a replica with room; more are refused with 503."""
    threads: int = 1
    """Cores that a replica uses."""
    allow_private_addresses: bool = False
    """Also fetch an image_url inside a private network."""


@serve.deployment(graceful_shutdown_wait_loop_s=0.2, health_check_period_s=2)
class PageReader:
    """One replica: a process with a copy of the model.

    Pages are decoded before they join a batch, so that a bad one fails by itself. All slow work
    runs in threads: Serve replaces a replica whose event loop doesn't answer.
    """

    def __init__(self, settings: RaySettings) -> None:
        import torch

        from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

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

    async def read(
        self, source: str | bytes, request: str, lines: bool
    ) -> tuple[dict[str, Any] | Exception, int]:
        """Reads one image of a request.

        Args:
            source: a data URI or the bytes of a file.
            request: an id that the images of a request have in common.
            lines: see `schema.Request`.

        Returns its part of the answer, or the error in place of it, and the number of pages in its
        batch.
        """
        try:
            with decoding.one_budget(_budget(request)):
                page = await asyncio.to_thread(load_image, source)
        except RecognizerError as error:
            return error, 0
        # Serve closes a batch when its wait is over, also if the one before is still being read.
        # Waiting here, pages that come meanwhile gather in one batch.
        await self._is_free.wait()
        reading, batch = await self._read_batch(page)
        if isinstance(reading, Exception):
            return reading, batch
        return schema.encode_reading(reading, lines), batch

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def _read_batch(
        self, pages: list[LoadedImage]
    ) -> "list[tuple[PageReading | Exception, int]]":
        self._is_free.clear()
        try:
            loop = asyncio.get_running_loop()
            readings = await loop.run_in_executor(self._reading, self._read_all, pages)
        finally:
            self._is_free.set()
        return [(reading, len(pages)) for reading in readings]

    def _read_all(self, pages: list[LoadedImage]) -> "list[PageReading | Exception]":
        """The readings in order; a page that breaks the model has the error in its place."""
        try:
            return self._recognizer.read_batch(pages)
        except Exception as error:
            if len(pages) == 1:
                return [error]
            return [self._read_all([page])[0] for page in pages]


@lru_cache(maxsize=4 * _MOST_REQUESTS)
def _budget(request: str) -> decoding.Budget:
    """The time in which a replica decodes the images of a request."""
    return decoding.Budget()


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(
    RequestLimits,
    most_bytes=schema.MAX_BODY_BYTES,
    methods=("GET", "HEAD", "POST"),
    most_open_bytes=_MOST_REQUESTS // 4 * schema.MAX_BODY_BYTES,
)


@serve.deployment(max_ongoing_requests=_MOST_REQUESTS, graceful_shutdown_wait_loop_s=0.2)
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
                document = schema.health(request.url.path, self._settings.model)
            else:
                question = schema.parse_request(await request.body())
                found = await asyncio.wait_for(self._read(question), REQUEST_SECONDS)
                answers, batches = zip(*found, strict=True)
                document = {"preds": answers} if question.many else answers[0]
                headers["x-batch"] = ",".join(map(str, batches))
            return JSONResponse(document, headers=headers)
        except Exception as error:
            status, document, more = schema.error_answer(error)
            if status == 500:
                logging.getLogger("ray.serve").error("A request failed.", exc_info=error)
            return JSONResponse(document, status, headers | more)

    async def _read(self, question: schema.Request) -> list[tuple[dict[str, Any], int]]:
        private = self._settings.allow_private_addresses
        sources = await asyncio.to_thread(
            schema.image_sources, question, allow_private_addresses=private
        )
        try:
            read, request = self._reader.read.remote, uuid.uuid4().hex
            found = await asyncio.gather(*(read(one, request, question.lines) for one in sources))
        except BackPressureError:
            raise RequestError(503, "The service is busy; try again in 1 s.", 1) from None
        except (RayActorError, DeploymentUnavailableError):
            # Reading changes nothing, so another replica can read the same page.
            raise RequestError(
                503, "The replica that read this page is gone; send the request again.", 1
            ) from None
        for number, (answer, _) in enumerate(found, 1):
            if isinstance(answer, RecognizerError) and len(found) > 1:
                raise type(answer)(f"Image {number} of {len(found)}: {answer}")
            if isinstance(answer, Exception):
                raise answer
        return found


def deploy(settings: RaySettings) -> None:
    """Runs the application on the cluster that this process is connected to."""
    reader = PageReader.options(
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.threads},
        # One batch is being read while the next one gathers.
        max_ongoing_requests=2 * settings.max_batch,
        max_queued_requests=settings.queue_size,
    ).bind(settings)
    # Beside the proxy: another node may go away.
    beside = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    edge = Edge.options(ray_actor_options=beside).bind(reader, settings)
    serve.run(edge, name="pages", route_prefix="/")


@contextlib.contextmanager
def serving(settings: RaySettings, port: int) -> Iterator[str]:
    """Starts Ray, and the application behind Serve's proxy on 127.0.0.1; ends both.

    Gives the service's address. Raises ModelFileError if the model can't be used, ServiceError if
    Ray doesn't start.
    """
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    # Found here, a bad file costs one sentence; found by the replicas, it costs the replicas.
    ParagraphTextRecognizer(settings.model)
    for name in ("ray", "ray.serve"):  # Serve sets a level of its own when it is imported
        logging.getLogger(name).setLevel(logging.ERROR)
    # The paths of Ray's sockets may have only 107 characters.
    options = {"prefix": "lab-ray-", "dir": "/tmp", "ignore_cleanup_errors": True}
    with tempfile.TemporaryDirectory(**options) as folder:
        # A replica that starts later reads with the same model, also after another `lab fetch`.
        model = Path(folder, f"{schema.model_fingerprint(settings.model)}.pt")
        shutil.copy(settings.model, model)
        try:
            _start_ray(settings.replicas * settings.threads, folder)
            serve.start(proxy_location="HeadOnly", http_options={"host": LOOPBACK, "port": port})
            deploy(replace(settings, model=str(model)))
            yield f"http://{LOOPBACK}:{port}"
        finally:
            if ray.is_initialized():
                serve.shutdown()
            ray.shutdown()


def _start_ray(cpus: int, folder: str) -> None:
    """Starts Ray; raises ServiceError if it doesn't start, also when it is tried again."""
    ends = signal.getsignal(signal.SIGTERM)
    for _ in range(_STARTS):
        try:
            ray.init(
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=LOOPBACK,
                _temp_dir=folder,
            )
            break
        except Exception as error:  # Ray raises nothing more particular
            ray.shutdown()
            reason = " ".join(str(error).split())[:300]
    else:
        raise ServiceError(f"Ray did not start ({reason}); try again.")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ends)  # Ray has put a handler of its own there
