"""Measures what batches of pages cost: their time first, then where it goes, in a trace.

The profiler makes a batch slower, so what is timed runs without it.
"""

import itertools
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
from torch.profiler import ProfilerActivity, schedule, tensorboard_trace_handler
from tqdm import tqdm

from lab_utils.profiling.device import describe_device, describe_versions, project_commit
from lab_utils.profiling.folder import (
    PROFILE_NAME,
    ProfileError,
    batch_folder,
    replaced_folder,
    trace_of,
)
from lab_utils.profiling.profile import BatchFigures, Profile
from lab_utils.profiling.trace import TraceError, read_trace
from lab_utils.profiling.trace_figures import (
    achieved_occupancy,
    covered,
    gpu_utilization,
    parts,
    sm_efficiency,
    top_operators,
)
from text_recognizer.errors import is_out_of_memory
from text_recognizer.images import ImageSource, LoadedImage, load_image
from text_recognizer.places import SAMPLE_PAGES

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_BATCH_SIZE = 512
"""Pages; a larger batch has no use, and a system may kill what asks for so much memory."""
MIN_REPEATS, MAX_REPEATS = 3, 30
SECONDS_PER_SIZE = 5.0
"""What the repeats of a batch size may take together, if they are more than MIN_REPEATS."""
_WARM_UPS, _WARM_UP_SECONDS = 3, 1.0

_TYPICAL = 3
"""The page to show that takes 0.96 times the average of all of them. The slowest takes 17 times as
long as the fastest, so which pages are in a batch matters as much as how many."""
_MIXED = (5, 6, 0, 11, 1, 4, 8, 10, 15, 7, 3, 14, 2, 13, 12, 9)
"""All pages to show, slow and fast ones in turns. The first 2, 4, 8 and 16 take 1 % more or less
than the average a page, other beginnings up to 9 % (processor time, median of 10 rounds)."""


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
        traced: whether each size runs under the profiler; if not, its figures are None.
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
    if where.type not in ("cpu", "cuda") or (device and torch.device(device).type != where.type):
        raise ProfileError(
            f'The recognizer is on "{where}"; load it with device="{device or "cpu"}".'
        )
    if repeats is not None and repeats < 1:
        raise ProfileError(f"{repeats} repeats measure nothing; ask for at least 1.")
    batches, read = _batches(sizes, pages)
    with (
        tempfile.TemporaryDirectory(prefix="lab-profile-")
        if out is None
        else replaced_folder(Path(out)) as folder
    ):
        runs = [Run(recognizer, batch) for batch in batches]
        _measure(runs, repeats, seconds, progress)
        if traced:
            _trace(runs, Path(folder))
        found = Profile(
            device=describe_device(where),
            versions=describe_versions(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command or f'profile_batch_sizes(recognizer, "{where.type}", {sizes})',
            commit=project_commit(),
            pages=read,
            batches=[run.figures() for run in runs],
        )
        if out is None:
            return replace(found, batches=[replace(one, trace=None) for one in found.batches])
        found.save(Path(folder) / PROFILE_NAME)
    return Profile.load(out)


def checked_sizes(batch_sizes: Iterable[int | str]) -> list[int]:
    """The sizes in their order, each once; raises ProfileError for what can't be a batch size."""
    sizes = list(batch_sizes)
    for size in sizes or [0]:
        text = str(size).strip()[:40]
        if not (text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MAX_BATCH_SIZE):
            raise ProfileError(
                f"{text!r} isn't a batch size; give whole numbers from 1 to {MAX_BATCH_SIZE}, such "
                "as 1,2,4."
            )
    return sorted({int(size) for size in sizes})


def _batches(
    sizes: Sequence[int], pages: Sequence[ImageSource] | None
) -> tuple[list[list[LoadedImage]], str]:
    """The decoded pages of each size, and what is read in a few words. Pages are cycled if too
    few."""
    if pages is not None and not len(pages):
        raise ProfileError("There are no pages to read; give at least one.")
    given = pages or [SAMPLE_PAGES / f"show_font_{number:03}.jpg" for number in _MIXED]
    loaded = [load_image(page) for page in given[: sizes[-1]]]
    batches = [list(itertools.islice(itertools.cycle(loaded), size)) for size in sizes]
    if pages is not None:
        return batches, f"{len(pages)} page" + "s" * (len(pages) != 1)
    if sizes[0] == 1:
        batches[0] = [load_image(SAMPLE_PAGES / f"show_font_{_TYPICAL:03}.jpg")]
    return batches, "the pages to show of data/pages, a typical one for batches of one"


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


@dataclass
class Run:
    """A batch, and what was measured of it so far."""

    recognizer: "ParagraphTextRecognizer"
    images: list[LoadedImage]
    fits: bool = True
    seconds: list[float] = field(default_factory=list)
    utilization: list[float] = field(default_factory=list)
    """Share of the threads' time in which they were at work, for each batch that was timed."""
    memory_bytes: int | None = None
    """On a GPU, the most that was allocated beyond weights and pages."""
    trace: Path | None = None

    @property
    def size(self) -> int:
        return len(self.images)

    def read(self, begin: Callable[[object], None] = lambda _: None) -> tuple[float, float] | None:
        """Reads the batch: s on the clock, and of all the process's threads; None, and `fits` is
        False, if the memory is not enough. `begin` gets the tensors when the network is next."""
        try:
            return self._timed(begin)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        self.fits = False
        if self.recognizer.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _timed(self, begin: Callable[[object], None]) -> tuple[float, float]:
        device = self.recognizer.device
        is_cuda = device.type == "cuda"
        batch = self.recognizer.to_tensors(self.images)
        allocated = 0
        if is_cuda:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            allocated = torch.cuda.memory_allocated(device)
        begin(batch)
        start, start_of_work = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            self.recognizer.model(*batch).tolist()
        if is_cuda:
            torch.cuda.synchronize(device)
        took = time.perf_counter() - start, time.process_time() - start_of_work
        if is_cuda:
            self.memory_bytes = torch.cuda.max_memory_allocated(device) - allocated
        return took

    def measure(self) -> None:
        """Reads the batch once more and keeps the time, if it fits the memory."""
        if self.fits and (took := self.read()):
            wall, processor = took
            self.seconds.append(wall)
            self.utilization.append(min(processor / (wall * torch.get_num_threads()), 1.0))

    def figures(self) -> BatchFigures:
        """What was measured, with the figures of the trace if there is one."""
        if not self.fits:
            return BatchFigures(self.size)
        timed = BatchFigures(
            self.size,
            seconds=self.seconds,
            cpu_utilization=statistics.median(self.utilization),
            memory_bytes=self.memory_bytes,
        )
        if self.trace is None:
            return timed
        try:
            return with_trace(timed, self.trace)
        except TraceError:
            # Of very many pages, it is larger than what is read; the times are good all the same.
            self.trace.unlink()
            return timed


def _measure(runs: Sequence[Run], repeats: int | None, seconds: float, progress: bool) -> None:
    """Warms up, then times the batches in turns."""
    for run in runs:
        start = time.monotonic()
        # The first size also warms up what does not depend on the size.
        for _ in range(_WARM_UPS):
            if run.fits and (run is runs[0] or time.monotonic() - start < _WARM_UP_SECONDS):
                run.read()
    rounds = range(repeats or MAX_REPEATS)
    for number in tqdm(rounds, unit="round", leave=False, disable=None if progress else True):
        for run in runs:
            if repeats or number < MIN_REPEATS or sum(run.seconds) < seconds:
                run.measure()


def _trace(runs: Sequence[Run], folder: Path) -> None:
    """Runs one batch of each size under the profiler, which writes its trace to the folder."""
    # The profiler's library looks once, at its first start, and would write its log to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    fitting = [run for run in runs if run.fits]
    for run in fitting:
        own = batch_folder(folder, run.size)
        _trace_one(run, fitting[0], own)
        if not run.fits:  # it fits without the profiler, and has been timed
            run.fits = True
            shutil.rmtree(own, ignore_errors=True)
        run.trace = trace_of(folder, run.size)


def _trace_one(run: Run, first: Run, folder: Path) -> None:
    on_gpu = [ProfilerActivity.CUDA] if run.recognizer.device.type == "cuda" else []
    kept = []

    def begin(batch: object) -> None:
        kept.append(batch)  # the profiler warns if memory from before its step is freed in it
        profiler.step()

    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, *on_gpu],
        schedule=schedule(wait=0, warmup=1, active=1, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder), "lab", use_gzip=True),
        profile_memory=True,
    ) as profiler:
        first.read()  # the profiler's own first step costs time that is no batch's
        if run.read(begin):
            profiler.step()
