"""Reads a trace of torch.profiler into the few things that the lab's figures are computed from.

A trace may come from anywhere: its size is bounded, and whatever is wrong with it is one sentence.
"""

import gzip
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from lab_utils.profiling.trace_events import (
    EventError,
    Span,
    Work,
    by_kind,
    most_memory,
    spans_of,
    time_of,
    work_of,
)
from text_recognizer.errors import RecognizerError

MAX_TRACE_BYTES = 200_000_000
"""Bytes of a trace, counted uncompressed: a batch of 128 pages on a GPU has about 70 million."""


class TraceError(RecognizerError):
    """The file is missing, damaged, too large, or no trace of torch.profiler with a step."""


@dataclass(frozen=True)
class Trace:
    """One or several steps of a profiled program; everything is sorted by its start."""

    path: Path
    steps: list[Span]
    """What lies between two calls of the profiler's `step()`; in this lab, one batch each."""
    duration: float
    """µs of the window that the figures describe: it starts at 0 with the first step. If the trace
    says when the GPU worked for a step, the window ends with that, as it does in torch-tb-profiler:
    what the processor does by itself after the last kernel is left out."""
    operators: list[Span]
    marks: list[Span]
    """`record_function` blocks but for the steps."""
    calls: list[Span]
    """Calls into CUDA: launches, copies, synchronizations."""
    work: list[Work]
    memory: dict[str, int]
    """The most bytes allocated at once on "CPU", "GPU 0", ..., if the profiler recorded memory."""

    @property
    def kernels(self) -> list[Work]:
        return [work for work in self.work if work.kind == "kernel"]

    @property
    def seconds(self) -> float:
        """Length of the window in s."""
        return self.duration / 1e6


def read_trace(path: str | os.PathLike) -> Trace:
    """Reads a trace that torch.profiler exported, .json or .json.gz.

    Raises:
        TraceError: the file is missing, cut, no such trace, without a step, or larger than
            MAX_TRACE_BYTES.
    """
    path = Path(path)
    # The profiler writes names of kernels and threads as they are: they may not be UTF-8.
    text = _read(path).decode("utf-8", "replace")
    try:
        document = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise TraceError(f"{path} is cut or not JSON; record the trace again.") from None
    if not isinstance(document, dict) or not isinstance(document.get("traceEvents"), list):
        raise TraceError(f"{path} is no trace of torch.profiler: it has no list of traceEvents.")
    try:
        return _trace(path, document["traceEvents"])
    except EventError as error:
        raise TraceError(f"{path} is a damaged trace: {error}; record it again.") from None


def _read(path: Path) -> bytes:
    """The bytes of the file, unpacked."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            # A few bytes can unpack to terabytes: never read on past the limit.
            data = file.read(MAX_TRACE_BYTES + 1)
    except FileNotFoundError:
        raise TraceError(f"There is no trace at {path}; record one with `lab profile`.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise TraceError(
            f"{path} is cut or damaged and can't be unpacked; record it again."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"{path} can't be read ({reason}); name another file.") from None
    if path.suffix == ".gz" and not packed:
        raise TraceError(f"{path} is not a gzip file; record the trace again or rename it.")
    if len(data) > MAX_TRACE_BYTES:
        raise TraceError(
            f"{path} has more than {MAX_TRACE_BYTES // 10**6} MB; record fewer steps or pages."
        )
    return data


def _trace(path: Path, every: list) -> Trace:
    events = by_kind(every)
    if not events["step"]:
        raise TraceError(
            f"{path} has no step of the profiler; record one with `lab profile`, or call the "
            "profiler's step() after each batch."
        )
    start = min(time_of(event, "ts") for event in events["step"])
    steps = spans_of(events["step"], start)
    # The plugin takes a device step for a step of its own; its window ends with the last to start.
    last = max(steps + spans_of(events["device step"], start), key=lambda span: span.start)
    if last.end <= 0:
        raise EventError("its step has no duration")
    return Trace(
        path=path,
        steps=steps,
        duration=last.end,
        operators=spans_of(events["operator"], start),
        marks=spans_of(events["mark"], start),
        calls=spans_of(events["call"], start),
        work=work_of(events, start),
        memory=most_memory(events["memory"]),
    )
