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
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler
from tqdm import tqdm

from lab_utils.profiling.folder import batch_folder, trace_paths
from text_recognizer.errors import is_out_of_memory
from text_recognizer.images import LoadedImage

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

MIN_REPEATS, MAX_REPEATS = 3, 30
SECONDS_PER_SIZE = 5.0
"""What the repeats of a batch size may take together, if they are more than MIN_REPEATS."""
_WARM_UPS, _WARM_UP_SECONDS = 3, 1.0


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


class Measurement:
    """Takes a recognizer through `runs`; call the three methods in their order, each once.

    Args:
        bar: shows the pages that were read, out of an estimate until the warm-up is over.
    """

    def __init__(
        self, recognizer: "ParagraphTextRecognizer", runs: Sequence[Run], bar: tqdm
    ) -> None:
        self._recognizer, self._runs, self._bar = recognizer, runs, bar
        self._device = recognizer.device
        self._is_cuda = self._device.type == "cuda"
        # Kept after a batch is read: the profiler complains about memory of before that is freed.
        self._batch: tuple[torch.Tensor, torch.Tensor] | None = None
        bar.total = sum(run.size * (_WARM_UPS + MIN_REPEATS + 1) for run in runs)

    def warm_up(self) -> None:
        """Lets TorchScript specialize, kernels load and the pools of memory grow."""
        for number, run in enumerate(self._runs):
            spent: list[float] = []
            # The first size also warms up what does not depend on the size.
            while len(spent) < _WARM_UPS and (number == 0 or sum(spent) < _WARM_UP_SECONDS):
                took = self._read(run, "warm-up")
                run.fits = took is not None
                if took is None:
                    break
                run.estimate, _ = took
                spent.append(run.estimate)

    def time(self, repeats: int | None = None, seconds: float = SECONDS_PER_SIZE) -> None:
        """Times `repeats` batches of each size; None: as many as take so many seconds."""
        turns = []
        for run in self._fitting:
            count = repeats or round(seconds / run.estimate)
            count = repeats or max(MIN_REPEATS, min(MAX_REPEATS, count))
            # Spread evenly: when one of the sizes is half through its repeats, so are the others.
            turns += [((number + 0.5) / count, run.size, run) for number in range(count)]
        # Each trace begins with a batch of the smallest size.
        traced = sum(run.size + self._fitting[0].size for run in self._fitting)
        self._bar.total = self._bar.n + sum(size for _, size, _ in turns) + traced
        for *_, run in sorted(turns, key=lambda turn: turn[:2]):
            took = self._read(run, "timing") if run.fits else None
            run.fits = took is not None
            if took is not None:
                wall, processor = took
                run.seconds.append(wall)
                run.utilization.append(min(processor / (wall * torch.get_num_threads()), 1.0))

    def trace(self, folder: Path) -> None:
        """Runs a batch of each size under the profiler; the trace goes to the size's folder."""
        for run in self._fitting:
            place = batch_folder(folder, run.size)
            with _quiet_profiler(), self._profiler(place) as profiler:
                # The profiler's own first step costs time that is no batch's.
                self._read(self._fitting[0], "tracing")
                fits = self._read(run, "tracing", begin=profiler.step)
                if fits:
                    profiler.step()
            if not fits:  # it fits without the profiler, and has been timed
                shutil.rmtree(place, ignore_errors=True)
            run.trace = next(iter(trace_paths(place)), None)
        self._batch = None

    @property
    def _fitting(self) -> list[Run]:
        return [run for run in self._runs if run.fits]

    def _read(
        self, run: Run, what: str, begin: Callable[[], None] = lambda: None
    ) -> tuple[float, float] | None:
        """Reads a batch: s on the clock, and of all the process's threads; None if the memory is
        not enough. `begin` is called when the pages are on the device and the network is next."""
        self._bar.set_description(f"{what}, batches of {run.size}")
        try:
            took = self._network(run, begin)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._bar.update(run.size)
            return took
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        self._batch = None
        if self._is_cuda:
            torch.cuda.empty_cache()
        return None

    def _network(self, run: Run, begin: Callable[[], None]) -> tuple[float, float]:
        self._batch = None  # before the next one takes memory
        self._batch = self._recognizer.to_tensors(run.images)
        allocated = 0
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            allocated = torch.cuda.memory_allocated(self._device)
        begin()
        start, start_of_work = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            self._recognizer.model(*self._batch).tolist()
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
        took = time.perf_counter() - start, time.process_time() - start_of_work
        if self._is_cuda:
            run.memory_bytes = torch.cuda.max_memory_allocated(self._device) - allocated
        return took

    def _profiler(self, folder: Path) -> profile:
        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + self._is_cuda]
        return profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=1, active=1, repeat=1),
            on_trace_ready=tensorboard_trace_handler(str(folder), "lab", use_gzip=True),
            profile_memory=True,
        )


@contextmanager
def _quiet_profiler() -> Iterator[None]:
    """Keeps the profiler's library from writing its own log to stderr, unless you ask for it with
    this variable; it looks once, at its first start in a process."""
    name = "KINETO_LOG_LEVEL"
    is_set = name in os.environ
    os.environ.setdefault(name, "6")  # above all levels that it has
    try:
        yield
    finally:
        if not is_set:
            del os.environ[name]
