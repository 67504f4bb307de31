"""The model as a Ray Serve application: replicas, on one machine or many, that read pages in
batches of whatever has come in, and take a new model without losing a request."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import ray
from ray import serve

from lab_utils.predictors.pages_to_send import PageToSend
from lab_utils.service import wire
from lab_utils.service.batching import Generations
from lab_utils.service.batching_threads import BatchReader
from lab_utils.service.ray_settings import Settings
from text_recognizer.errors import RecognizerError
from text_recognizer.images import LoadedImage, load_image
from text_recognizer.limits import MAX_BATCH
from text_recognizer.paragraph_text_recognizer import PageReading, ParagraphTextRecognizer

APPLICATION = "pages"
DEPLOYMENT = "PageReader"

STUCK_SECONDS = 120.0
"""A batch that takes longer than this never ends: Serve then starts another replica."""

_DECODERS = 2


class Answer(NamedTuple):
    """What a replica says about one page. Errors are values: raised, Ray would wrap them up."""

    reading: PageReading | None
    refusal: RecognizerError | None
    batch: int
    """Pages in the batch that this one was read with; 0 where it never came to reading."""
    model: str
    """Fingerprint of the model that read it."""
    node: str
    """Ray's id of the machine, its first 8 hexadecimal digits."""


@serve.deployment(name=DEPLOYMENT)
class PageReader:
    """One replica: a process with a copy of the model.

    Pages are decoded and checked before they join a batch, so that a bad one fails alone. All that
    takes time runs in threads: Serve counts a replica whose event loop doesn't answer as dead.
    """

    def __init__(self, settings: Settings) -> None:
        self._node = ray.get_runtime_context().get_node_id()[:8]
        self._model = wire.model_fingerprint(settings.model)
        recognizer = ParagraphTextRecognizer(settings.model)
        self._reader = BatchReader(recognizer, settings.threads)
        self._decoding = ThreadPoolExecutor(_DECODERS, "decoding")
        self._reading = ThreadPoolExecutor(1, "reading")
        self._gate = Generations(settings.max_batch)
        self._read_batch.set_max_batch_size(settings.max_batch)
        self._read_batch.set_batch_wait_timeout_s(settings.max_wait_ms / 1000)
        self._batch_began: float | None = None

    def check_health(self) -> None:
        """Raises where the replica should be replaced; Serve asks every ten seconds."""
        began = self._batch_began
        if began is not None and time.monotonic() - began > STUCK_SECONDS:
            raise RuntimeError(f"a batch has not ended within {STUCK_SECONDS:g} s")

    async def read(self, source: str | bytes) -> Answer:
        """Reads one image: a data URI or the bytes of a file."""
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            page = await loop.run_in_executor(self._decoding, load_image, source)
        except RecognizerError as error:
            return Answer(None, error, 0, self._model, self._node)
        seconds = time.perf_counter() - start
        async with self._gate.member():
            reading, batch = await self._read_batch(page)
        if isinstance(reading, Exception):
            raise reading
        reading = replace(
            PageToSend({}, page).in_px_of_image(reading), seconds=reading.seconds + seconds
        )
        return Answer(reading, None, batch, self._model, self._node)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0.01)
    async def _read_batch(
        self, pages: list[LoadedImage]
    ) -> list[tuple[PageReading | Exception, int]]:
        self._gate.close()
        self._batch_began = time.monotonic()
        try:
            readings = await asyncio.get_running_loop().run_in_executor(
                self._reading, self._reader.read, [page.page for page in pages]
            )
        finally:
            self._batch_began = None
        return [(reading, len(pages)) for reading in readings]


def deploy(settings: Settings) -> serve.handle.DeploymentHandle:
    """Starts the application on the cluster that this process is connected to, or updates it.

    An update is a rolling one: the old replicas answer until new ones have loaded, and end when
    they have answered all that they have taken. Meanwhile an answer comes from the one model or
    from the other, and both are in memory. Returns when the new replicas alone take requests.

    Raises ModelFileError where the model cannot be used; what runs then stays as it is.
    """
    # Found here, a bad file costs one sentence; found by the replicas, it costs the replicas.
    ParagraphTextRecognizer(settings.model)
    application = PageReader.options(
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.threads},
        # One batch is read while the next one gathers; what comes after that can still go to
        # another replica, so it waits at the caller.
        max_ongoing_requests=2 * settings.max_batch,
        max_queued_requests=settings.queue_size,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=30,
        max_surge_percent=100,
    ).bind(settings)
    serve.start(proxy_location="Disabled")  # HTTP is the edge's
    return serve.run(application, name=APPLICATION, route_prefix=None)


def health(settings: Settings) -> tuple[int, dict[str, str | int]]:
    """HTTP status and document of a health answer: 200 while at least one replica serves."""
    application = serve.status().applications.get(APPLICATION)
    deployment = application.deployments.get(DEPLOYMENT) if application else None
    running = deployment.replica_states.get("RUNNING", 0) if deployment else 0
    document = {
        "status": "ok" if running else "starting",
        "model": wire.model_fingerprint(settings.model),
        "replicas": running,
        "deployment": deployment.status.value.lower() if deployment else "missing",
    }
    return (200 if running else 503), document
