"""Runs batches of several sizes in turns: warmed up, timed, and once more under torch.profiler.

It knows of seconds, memory and traces; what they mean is computed elsewhere.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from lab_utils.profiling.folder import batch_folder, trace_paths
from text_recognizer.images import LoadedImage

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

MIN_REPEATS, MAX_REPEATS = 3, 30
SECONDS_PER_SIZE = 5.0
"""What the repeats of a batch size may take together, where they are more than MIN_REPEATS."""

_WARM_UPS = 3
_WARM_UP_SECONDS = 1.0
_SILENT = "6"
"""A level of the profiler's log above all that it has."""
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Progress = Callable[[int, int, str], None]
"""Told before each batch: pages that were read so far, pages in all (an estimate until the warm-up
is over), and what comes next."""


class DoesNotFitError(Exception):
    """The memory is not enough for a batch."""


@dataclass
class Run:
    """A batch size, and what was measured of it so far."""

    size: int
    images: list[LoadedImage]
    fits: bool = True
    estimate: float = 0.0
    """s of a batch, from the warm-up."""
    seconds: list[float] = field(default_factory=list)
    utilization: list[float] = field(default_factory=list)
    """Share of the threads' time in which they were at work, for each batch that was timed."""
    memory_bytes: int | None = None
    """On a GPU, the most that was allocated beyond weights and pages."""
    trace: Path | None = None


class _Took(NamedTuple):
    """s that the network took for a batch: on the clock, and of all the process's threads."""

    seconds: float
    processor_seconds: float


class Measurement:
    """Takes a recognizer through `runs`; call the three methods in their order, each once."""

    def __init__(
        self,
        recognizer: "ParagraphTextRecognizer",
        runs: Sequence[Run],
        progress: Progress | None = None,
    ) -> None:
        self._recognizer, self._runs, self._progress = recognizer, runs, progress
        self._device = recognizer.device
        self._is_cuda = self._device.type == "cuda"
        # Kept after a batch is read: the profiler complains about memory of before that is freed.
        self._batch: tuple[torch.Tensor, torch.Tensor] | None = None
        self._done = 0
        self._total = sum(run.size * (_WARM_UPS + MIN_REPEATS + 1) for run in runs)

    def warm_up(self) -> None:
        """Lets TorchScript specialize, kernels load and the pools of memory grow."""
        for number, run in enumerate(self._runs):
            spent: list[float] = []
            # The first size also warms up what does not depend on the size.
            while len(spent) < _WARM_UPS and (number == 0 or sum(spent) < _WARM_UP_SECONDS):
                try:
                    spent.append(self._read(run, "warm-up").seconds)
                except DoesNotFitError:
                    run.fits = False
                    break
                run.estimate = spent[-1]

    def time(self, repeats: int | None = None) -> None:
        """Times `repeats` batches of each size; None: as many as there is time for."""
        total = self._done
        counts = {run.size: repeats or _repeats(run.estimate) for run in self._fitting}
        for run in self._fitting:
            # Each trace begins with a batch of the smallest size.
            total += run.size * (counts[run.size] + 1) + self._fitting[0].size
        self._total = total
        for run in _in_turns(self._fitting, counts):
            if not run.fits:
                continue
            try:
                took = self._read(run, "timing")
            except DoesNotFitError:
                run.fits = False
                continue
            run.seconds.append(took.seconds)
            available = took.seconds * torch.get_num_threads()
            run.utilization.append(min(took.processor_seconds / available, 1.0))

    def trace(self, folder: Path) -> None:
        """Runs a batch of each size under the profiler; the trace goes to the size's folder."""
        for run in self._fitting:
            place = batch_folder(folder, run.size)
            try:
                with _quiet_profiler(), self._profiler(place) as profiler:
                    # The profiler's own first step costs time that is no batch's.
                    self._read(self._fitting[0], "tracing")
                    self._read(run, "tracing", begin=profiler.step)
                    profiler.step()
            except DoesNotFitError:
                # It fits without the profiler, and has been timed.
                shutil.rmtree(place, ignore_errors=True)
            run.trace = next(iter(trace_paths(place)), None)
        self._batch = None
        self._tell("done")

    @property
    def _fitting(self) -> list[Run]:
        return [run for run in self._runs if run.fits]

    def _read(self, run: Run, what: str, begin: Callable[[], None] = lambda: None) -> _Took:
        """Reads a batch; returns what the network took, or raises DoesNotFitError.

        Args:
            begin: called when the pages are on the device and the network is next.
        """
        self._tell(f"{what}, batches of {run.size}")
        try:
            took = self._network(run, begin)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
        else:
            self._done += run.size
            return took
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        self._batch = None
        if self._is_cuda:
            torch.cuda.empty_cache()
        raise DoesNotFitError

    def _network(self, run: Run, begin: Callable[[], None]) -> _Took:
        self._batch = None  # before the next one takes memory
        self._batch = self._recognizer.to_tensors(run.images)
        allocated = self._settle()
        begin()
        start, start_of_work = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            self._recognizer.model(*self._batch).tolist()
        self._synchronize()
        took = _Took(time.perf_counter() - start, time.process_time() - start_of_work)
        if self._is_cuda:
            run.memory_bytes = torch.cuda.max_memory_allocated(self._device) - allocated
        return took

    def _settle(self) -> int:
        """Waits until the GPU is idle and starts to watch its memory; returns the bytes in use."""
        if not self._is_cuda:
            return 0
        self._synchronize()
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def _synchronize(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize(self._device)

    def _profiler(self, folder: Path) -> profile:
        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + self._is_cuda]
        return profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=1, active=1, repeat=1),
            on_trace_ready=tensorboard_trace_handler(str(folder), "lab", use_gzip=True),
            profile_memory=True,
        )

    def _tell(self, what: str) -> None:
        if self._progress:
            self._progress(self._done, max(self._done, self._total), what)


def _repeats(seconds: float) -> int:
    """How many repeats of so many s there is time for."""
    return max(MIN_REPEATS, min(MAX_REPEATS, round(SECONDS_PER_SIZE / seconds)))


def _in_turns(runs: Sequence[Run], counts: dict[int, int]) -> list[Run]:
    """Each run as often as it counts, spread evenly: whenever one of the sizes is half through
    with its repeats, so are the others."""
    moments = [
        ((repeat + 0.5) / counts[run.size], run.size, run)
        for run in runs
        for repeat in range(counts[run.size])
    ]
    return [run for *_, run in sorted(moments, key=lambda moment: moment[:2])]


def _is_out_of_memory(error: Exception) -> bool:
    """TorchScript hands the errors of operators on as errors of its own, so that only their texts
    tell what they were."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error) for sign in _OUT_OF_MEMORY)


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """Keeps the profiler's library from writing its own log to stderr; it looks once, at its
    first start in a process, so that whoever sets the variable before is heard."""
    if "KINETO_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["KINETO_LOG_LEVEL"] = _SILENT
    try:
        yield
    finally:
        del os.environ["KINETO_LOG_LEVEL"]
