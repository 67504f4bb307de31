"""Measures what batches of pages cost: their time first, then where it goes, in a trace.

The profiler makes a batch slower, so what is timed runs without it.
"""

import gc
import os
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from lab_utils.profiling.device import describe_device, describe_versions, project_commit
from lab_utils.profiling.folder import PROFILE_NAME, ProfileError, replaced_folder
from lab_utils.profiling.gpu_figures import (
    achieved_occupancy,
    device_seconds,
    gpu_utilization,
    sm_efficiency,
)
from lab_utils.profiling.measurement import SECONDS_PER_SIZE, Measurement, Run
from lab_utils.profiling.pages import SAMPLES, load_pages, repeated, sample_batch
from lab_utils.profiling.profile import TOO_LARGE, BatchFigures, Profile
from lab_utils.profiling.trace import TraceError, read_trace
from lab_utils.profiling.trace_operators import cpu_seconds, parts, top_operators
from lab_utils.profiling.waiting import waiting_operators
from text_recognizer.images import ImageSource

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_BATCH_SIZE = 512
"""Pages; a larger batch has no use, and a system may kill what asks for so much memory."""
_TOP_OPERATORS = 10


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

    Timed is what `predict_batch` does with pages once they are decoded and on the device: the model
    on one batch, until the tokens of its text are back. First each size is warmed up; then the
    repeats of all sizes take turns, so that a machine that gets slower or faster meanwhile does so
    for all of them; at last each size runs once more under torch.profiler. A size that does not fit
    the memory is marked so, and the others go on.

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
    if device is not None and torch.device(device).type != where.type:
        raise ProfileError(f'The recognizer is on "{where}"; load it with device="{device}".')
    if where.type not in ("cpu", "cuda"):
        raise ProfileError(f'Profiles are taken on "cpu" or "cuda", not on "{where}".')
    if repeats is not None and repeats < 1:
        raise ProfileError(f"{repeats} repeats measure nothing; ask for at least 1.")
    given = None if pages is None else load_pages(pages)
    if given is not None and not given:
        raise ProfileError("There are no pages to read; give at least one.")
    runs = [
        Run(size, sample_batch(size) if given is None else repeated(given, size)) for size in sizes
    ]
    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-profile-")))
        else:
            folder = stack.enter_context(replaced_folder(Path(out)))
        bar = tqdm(unit="page", leave=False, disable=None if progress else True)
        measurement = Measurement(recognizer, runs, stack.enter_context(bar))
        measurement.warm_up()
        measurement.time(repeats, seconds)
        if traced:
            measurement.trace(folder)
        found = Profile(
            device=describe_device(where),
            versions=describe_versions(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command or f'profile_batch_sizes(recognizer, "{where.type}", {sizes})',
            commit=project_commit(),
            pages=SAMPLES if given is None else f"{len(given)} page" + "s" * (len(given) != 1),
            batches=[_figures(run) for run in runs],
        )
        if out is None:
            return found.keep_traces([])
        found.save(folder / PROFILE_NAME)
    return Profile.load(out)


def checked_sizes(batch_sizes: Iterable[int]) -> list[int]:
    """The sizes in their order, each once; raises ProfileError for what can't be a batch size."""
    sizes = list(batch_sizes)
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_BATCH_SIZE:
            raise ProfileError(
                f"{size} is no batch size; give whole numbers from 1 to {MAX_BATCH_SIZE}."
            )
    if not sizes:
        raise ProfileError("There are no batch sizes; give at least one, such as 1,2,4.")
    return sorted(set(sizes))


def with_trace(timed: BatchFigures, path: Path) -> BatchFigures:
    """The figures of a batch size with those of its trace; the memory only if it isn't known.

    Raises TraceError if the trace can't be read.
    """
    trace = read_trace(path)
    memory_bytes = timed.memory_bytes
    return replace(
        timed,
        traced_seconds=trace.seconds,
        cpu_seconds=cpu_seconds(trace),
        device_seconds=device_seconds(trace) if trace.work else None,
        gpu_utilization=gpu_utilization(trace),
        sm_efficiency=sm_efficiency(trace),
        achieved_occupancy=achieved_occupancy(trace),
        memory_bytes=trace.memory.get("CPU") if memory_bytes is None else memory_bytes,
        operators=top_operators(trace, _TOP_OPERATORS),
        waiting=waiting_operators(trace, _TOP_OPERATORS),
        parts=parts(trace),
        trace=path,
    )


def _figures(run: Run) -> BatchFigures:
    if not run.fits:
        return BatchFigures(run.size, TOO_LARGE)
    timed = BatchFigures(
        run.size,
        seconds=run.seconds,
        cpu_utilization=statistics.median(run.utilization),
        memory_bytes=run.memory_bytes,
    )
    if run.trace is None:
        return timed
    # Python would look for garbage among the millions of objects of a large trace, again and again
    # while they are made: that is 40 % of the time to read one.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return with_trace(timed, run.trace)
    except TraceError:
        # Of very many pages, it is larger than what is read; the times are good all the same.
        run.trace.unlink()
        return timed
    finally:
        if was_enabled:
            gc.enable()
