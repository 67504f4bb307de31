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

import torch
from torch.profiler import ProfilerActivity, schedule, tensorboard_trace_handler
from tqdm import tqdm

from lab_tracker.wording import counted
from lab_utils.profiling.device import describe_device, describe_versions, project_commit
from lab_utils.profiling.profile import (
    PROFILE_NAME,
    BatchFigures,
    Profile,
    ProfileError,
    batch_folder,
    replaced_profile,
    trace_of,
)
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
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_BATCH_SIZE = 512
"""Pages; a larger batch has no use, and a system may kill what asks for so much memory."""
MIN_REPEATS, MAX_REPEATS = 3, 30
SECONDS_PER_SIZE = 5.0
"""What the repeats of a batch size may take together, if they are more than MIN_REPEATS."""
_WARM_UPS, _WARM_UP_SECONDS = 3, 1.0

TYPICAL_PAGE = SAMPLE_PAGES / "show_font_003.jpg"
"""It takes 0.96 times the average of the pages to show, of which the slowest takes 17 times as long
as the fastest: which pages are in a batch matters as much as how many."""


def profile_batch_sizes(
    recognizer: ParagraphTextRecognizer,
    device: str | torch.device | None = None,
    batch_sizes: Iterable[int | str] = BATCH_SIZES,
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
            None: TYPICAL_PAGE, so that batches differ only in their size.
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
    pages = [TYPICAL_PAGE] if pages is None else pages
    if not len(pages):
        raise ProfileError("There are no pages to read; give at least one.")
    loaded = [load_image(page) for page in pages[: sizes[-1]]]
    batches = [list(itertools.islice(itertools.cycle(loaded), size)) for size in sizes]
    with (
        tempfile.TemporaryDirectory(prefix="lab-profile-")
        if out is None
        else replaced_profile(Path(out)) as folder
    ):
        runs = [Run(recognizer, batch) for batch in batches]
        _measure(runs, repeats, seconds, progress)
        fitting = [run for run in runs if run.fits and traced]
        for run in fitting:
            _trace(run, fitting[0], Path(folder))
        found = Profile(
            device=describe_device(where),
            versions=describe_versions(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command or f'profile_batch_sizes(recognizer, "{where.type}", {sizes})',
            commit=project_commit(),
            pages=counted(len(loaded), "page"),
            batches=[run.figures() for run in runs],
        )
        found.save(Path(folder) / PROFILE_NAME)
    if out is None:
        return replace(found, batches=[replace(one, trace=None) for one in found.batches])
    return Profile.load(out)


def checked_sizes(batch_sizes: Iterable[int | str]) -> list[int]:
    """The sizes in their order, each once; raises ProfileError for what can't be a batch size."""
    try:
        sizes = sorted({int(str(size)) for size in batch_sizes})
    except ValueError:
        sizes = []
    if not sizes or sizes[0] < 1 or sizes[-1] > MAX_BATCH_SIZE:
        raise ProfileError(f"Batch sizes are whole numbers from 1 to {MAX_BATCH_SIZE}: 1,2,4.")
    return sizes


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

    recognizer: ParagraphTextRecognizer
    images: list[LoadedImage]
    fits: bool = True
    times: list[tuple[float, float]] = field(default_factory=list)
    """s of each batch that was timed: on the clock, and of all the process's threads."""
    memory_bytes: int | None = None
    """On a GPU, the most that was allocated beyond weights and pages."""
    trace: Path | None = None

    def read(self, begin: Callable[[object], None] = lambda _: None) -> tuple[float, float] | None:
        """Reads the batch: s on the clock, and of all the process's threads; None if the memory is
        not enough. `begin` gets the tensors when the network is next."""
        try:
            return self._timed(begin)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        if self.recognizer.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _timed(self, begin: Callable[[object], None]) -> tuple[float, float]:
        device = self.recognizer.device
        is_cuda = device.type == "cuda"
        batch = self.recognizer.to_tensors(self.images)
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

    def figures(self) -> BatchFigures:
        """What was measured, with the figures of the trace if there is one."""
        if not self.fits:
            return BatchFigures(len(self.images))
        threads = torch.get_num_threads()
        timed = BatchFigures(
            len(self.images),
            seconds=[wall for wall, _ in self.times],
            cpu_utilization=statistics.median(
                min(work / (wall * threads), 1.0) for wall, work in self.times
            ),
            memory_bytes=self.memory_bytes,
        )
        try:
            return with_trace(timed, self.trace) if self.trace else timed
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
                run.fits = run.read() is not None
    rounds = range(repeats or MAX_REPEATS)
    for number in tqdm(rounds, unit="round", leave=False, disable=None if progress else True):
        for run in runs:
            spent = sum(wall for wall, _ in run.times)
            if run.fits and (repeats or number < MIN_REPEATS or spent < seconds):
                took = run.read()
                run.fits = took is not None
                run.times += [took] if took else []


def _trace(run: Run, first: Run, folder: Path) -> None:
    """Runs the batch under the profiler, which writes its trace to the folder."""
    # The profiler's library looks once, at its first start, and would write its log to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    on_gpu = [ProfilerActivity.CUDA] if run.recognizer.device.type == "cuda" else []
    own = batch_folder(folder, len(run.images))
    kept = []

    def begin(batch: object) -> None:
        kept.append(batch)  # the profiler warns if memory from before its step is freed in it
        profiler.step()

    with torch.profiler.profile(
        activities=[ProfilerActivity.CPU, *on_gpu],
        schedule=schedule(wait=0, warmup=1, active=1, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(own), "lab", use_gzip=True),
        profile_memory=True,
    ) as profiler:
        first.read()  # the profiler's own first step costs time that is no batch's
        is_whole = run.read(begin) is not None
        if is_whole:
            profiler.step()
    if not is_whole:  # it fits without the profiler, and has been timed
        shutil.rmtree(own, ignore_errors=True)
    run.trace = trace_of(folder, len(run.images))
