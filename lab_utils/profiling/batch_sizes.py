"""Measures what batches of pages cost: their time first, then where it goes, in a trace.

The profiler makes a batch slower, so what is timed runs without it.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from lab_utils.profiling.device import describe_device, describe_versions, project_commit
from lab_utils.profiling.folder import (
    PROFILE_NAME,
    ProfileError,
    batch_folder,
    replaced_folder,
    trace_paths,
)
from lab_utils.profiling.gpu_figures import (
    achieved_occupancy,
    covered,
    gpu_utilization,
    sm_efficiency,
)
from lab_utils.profiling.pages import SAMPLES, load_pages, repeated, sample_batch
from lab_utils.profiling.profile import BatchFigures, Profile
from lab_utils.profiling.trace import TraceError, read_trace
from lab_utils.profiling.trace_operators import parts, top_operators
from text_recognizer.errors import is_out_of_memory
from text_recognizer.images import ImageSource, LoadedImage

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_BATCH_SIZE = 512
"""Pages; a larger batch has no use, and a system may kill what asks for so much memory."""
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


def profile_batch_sizes(
    recognizer: "ParagraphTextRecognizer",
    device: str | torch.device | None = None,
    batch_sizes: Iterable[int] = BATCH_SIZES,
    *,
    out: str | os.PathLike | None = None,
    repeats: int | None = None,
    seconds: float = SECONDS_PER_SIZE,
    traced: bool = True,
    pages: Sequence[ImageSource] | None = None,
    progress: bool = False,
    command: str | None = None,
) -> Profile:
    """Measures the network on batches of these sizes, and traces one batch of each.

    Timed is what `predict_batch` does with pages that are decoded and on the device: the model on
    one batch, until the tokens of its text are back. The repeats of all sizes take turns, so that a
    machine that gets slower meanwhile does so for all of them. A size that does not fit the memory
    is marked so, and the others go on.

    Args:
        device: "cpu" or "cuda"; what the recognizer runs on. None: just that.
        batch_sizes: pages in a batch, in any order.
        out: folder for `profile.json` and the traces, in `batch_size_NN`; a profile that it holds
            is replaced once the new one is whole. None: no file is kept.
        repeats: batches of each size to time. None: as many as take `seconds`, but between
            MIN_REPEATS and MAX_REPEATS.
        traced: whether each size runs under the profiler. What its trace would show is None else.
        pages: images to make batches of, from the first one on, and again where there are too few;
            None: the pages to show of `data/pages`, in mixtures of equal cost.
        progress: whether a bar is shown on stderr, if that is a terminal.
        command: what the profile says that took it.

    Raises:
        ProfileError: a batch size, the device or the folder can't be used.
        RecognizerError: a page can't be read.
    """
    sizes = checked_sizes(batch_sizes)
    where = recognizer.device
    _check(where, device, repeats)
    runs, read = _runs(sizes, pages)
    with (
        tempfile.TemporaryDirectory(prefix="lab-profile-")
        if out is None
        else replaced_folder(Path(out)) as folder
    ):
        _measure(recognizer, runs, repeats, seconds, Path(folder) if traced else None, progress)
        found = Profile(
            device=describe_device(where),
            versions=describe_versions(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command or f'profile_batch_sizes(recognizer, "{where.type}", {sizes})',
            commit=project_commit(),
            pages=read,
            batches=[_figures(run) for run in runs],
        )
        if out is None:
            return replace(found, batches=[replace(one, trace=None) for one in found.batches])
        found.save(Path(folder) / PROFILE_NAME)
    return Profile.load(out)


def _check(where: torch.device, device: str | torch.device | None, repeats: int | None) -> None:
    if device is not None and torch.device(device).type != where.type:
        raise ProfileError(f'The recognizer is on "{where}"; load it with device="{device}".')
    if where.type not in ("cpu", "cuda"):
        raise ProfileError(f'Profiles are taken on "cpu" or "cuda", not on "{where}".')
    if repeats is not None and repeats < 1:
        raise ProfileError(f"{repeats} repeats measure nothing; ask for at least 1.")


def _runs(sizes: Sequence[int], pages: Sequence[ImageSource] | None) -> tuple[list[Run], str]:
    """The batches to read, and what is read in a few words."""
    if pages is None:
        return [Run(size, sample_batch(size)) for size in sizes], SAMPLES
    given = load_pages(pages)
    if not given:
        raise ProfileError("There are no pages to read; give at least one.")
    read = f"{len(given)} page" + "s" * (len(given) != 1)
    return [Run(size, repeated(given, size)) for size in sizes], read


def checked_sizes(batch_sizes: Iterable[int]) -> list[int]:
    """The sizes in their order, each once; raises ProfileError for what can't be a batch size."""
    sizes = list(batch_sizes)
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_BATCH_SIZE:
            raise ProfileError(
                f"{size} isn't a batch size; give whole numbers from 1 to {MAX_BATCH_SIZE}."
            )
    if not sizes:
        raise ProfileError("There are no batch sizes; give at least one, such as 1,2,4.")
    return sorted(set(sizes))


def with_trace(timed: BatchFigures, path: Path) -> BatchFigures:
    """The figures of a batch size with those of its trace; the memory only if it isn't known.

    Raises TraceError if the trace can't be read.
    """
    trace = read_trace(path)
    return replace(
        timed,
        traced_seconds=trace.seconds,
        device_seconds=covered(trace.work, trace) / 1e6 if trace.work else None,
        gpu_utilization=gpu_utilization(trace),
        sm_efficiency=sm_efficiency(trace),
        achieved_occupancy=achieved_occupancy(trace),
        memory_bytes=trace.memory_bytes if timed.memory_bytes is None else timed.memory_bytes,
        operators=top_operators(trace),
        parts=parts(trace),
        trace=path,
    )


def _figures(run: Run) -> BatchFigures:
    if not run.fits:
        return BatchFigures(run.size)
    timed = BatchFigures(
        run.size,
        seconds=run.seconds,
        cpu_utilization=statistics.median(run.utilization),
        memory_bytes=run.memory_bytes,
    )
    if run.trace is None:
        return timed
    try:
        return with_trace(timed, run.trace)
    except TraceError:
        # Of very many pages, it is larger than what is read; the times are good all the same.
        run.trace.unlink()
        return timed


def _measure(
    recognizer: "ParagraphTextRecognizer",
    runs: Sequence[Run],
    repeats: int | None,
    seconds: float,
    folder: Path | None,
    progress: bool,
) -> None:
    """Warms up, times, and traces into the folder if there is one; the runs hold what it found."""
    network = _Network(recognizer)
    for run in runs:
        spent: list[float] = []
        # The first size also warms up what does not depend on the size.
        while len(spent) < _WARM_UPS and (run is runs[0] or sum(spent) < _WARM_UP_SECONDS):
            if (took := network.read(run)) is None:
                break
            spent.append(took[0])
            run.estimate = took[0]
    turns = []
    for run in (one for one in runs if one.fits):
        count = repeats or max(MIN_REPEATS, min(MAX_REPEATS, round(seconds / run.estimate)))
        # Spread evenly: when one of the sizes is half through its repeats, so are the others.
        turns += [((number + 0.5) / count, run.size, run) for number in range(count)]
    turns.sort(key=lambda turn: turn[:2])
    for *_, run in tqdm(turns, unit="batch", leave=False, disable=None if progress else True):
        if run.fits and (took := network.read(run)):
            wall, processor = took
            run.seconds.append(wall)
            run.utilization.append(min(processor / (wall * torch.get_num_threads()), 1.0))
    fitting = [run for run in runs if run.fits]
    for run in fitting if folder else ():
        network.trace(run, batch_folder(folder, run.size), first=fitting[0])
    network.batch = None


class _Network:
    """Runs batches through a recognizer's network."""

    def __init__(self, recognizer: "ParagraphTextRecognizer") -> None:
        self._recognizer, self._device = recognizer, recognizer.device
        self._is_cuda = self._device.type == "cuda"
        # Kept after a batch is read: the profiler complains about memory of before that is freed.
        self.batch: tuple[torch.Tensor, torch.Tensor] | None = None

    def read(
        self, run: Run, begin: Callable[[], None] = lambda: None
    ) -> tuple[float, float] | None:
        """Reads a batch: s on the clock, and of all the process's threads; None, and `run.fits` is
        False, if the memory is not enough. `begin` is called when the network is next."""
        try:
            return self._timed(run, begin)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        run.fits, self.batch = False, None
        if self._is_cuda:
            torch.cuda.empty_cache()
        return None

    def trace(self, run: Run, folder: Path, first: Run) -> None:
        """Runs a batch under the profiler, which writes the trace to the folder."""
        # The profiler's library looks once, at its first start, and would write its log to stderr.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        with self._profiler(folder) as profiler:
            # The profiler's own first step costs time that is no batch's.
            self.read(first)
            if self.read(run, begin=profiler.step):
                profiler.step()
        if not run.fits:  # it fits without the profiler, and has been timed
            run.fits = True
            shutil.rmtree(folder, ignore_errors=True)
        run.trace = next(iter(trace_paths(folder)), None)

    def _timed(self, run: Run, begin: Callable[[], None]) -> tuple[float, float]:
        self.batch = None  # before the next one takes memory
        self.batch = self._recognizer.to_tensors(run.images)
        allocated = 0
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            allocated = torch.cuda.memory_allocated(self._device)
        begin()
        start, start_of_work = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            self._recognizer.model(*self.batch).tolist()
        if self._is_cuda:
            torch.cuda.synchronize(self._device)
        took = time.perf_counter() - start, time.process_time() - start_of_work
        if self._is_cuda:
            run.memory_bytes = torch.cuda.max_memory_allocated(self._device) - allocated
        return took

    def _profiler(self, folder: Path) -> torch.profiler.profile:
        kinds = torch.profiler.ProfilerActivity
        return torch.profiler.profile(
            activities=[kinds.CPU, kinds.CUDA] if self._is_cuda else [kinds.CPU],
            schedule=torch.profiler.schedule(wait=0, warmup=1, active=1, repeat=1),
            on_trace_ready=torch.profiler.tensorboard_trace_handler(
                str(folder), "lab", use_gzip=True
            ),
            profile_memory=True,
        )
