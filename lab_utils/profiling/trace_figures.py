"""What a trace says: how busy the GPU was, which operator ran when, and where the time went.

The formulas of the GPU's figures are those of torch-tb-profiler 0.4.3 (`gpu_metrics_parser.py`),
which calls the last two estimates: they follow from the kernels' grids, not from counters.
Operators nest: an operator's own time is without that of the operators within it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, FiniteFloat

from lab_utils.profiling.trace import Span, Trace

RESOLUTION = 0.002
"""µs: the profiler counts ns, which a float of its times since the start of the machine can't show.
A span that starts this little before another's end follows it, and is not within it."""

Amount = Annotated[FiniteFloat, Field(ge=0)]
"""A time or a share, as a profile's file must have it."""
Interval = tuple[float, float]
"""Start and end, in µs."""


@dataclass(frozen=True)
class OperatorTime:
    """What all the calls of an operator took within the window."""

    name: str
    calls: Annotated[int, Field(ge=0)]
    self_seconds: Amount
    """s of the processor, without the operators within it."""


def gpu_utilization(trace: Trace) -> float | None:
    """The share of the window in which at least one kernel ran; None without a kernel."""
    return covered(trace.kernels, trace) / trace.duration if trace.kernels else None


def sm_efficiency(trace: Trace) -> float | None:
    """The mean share, over the window, of the GPU's multiprocessors that had work.

    At each moment this is the number of blocks per multiprocessor of all running kernels, but at
    most 1. None if the trace has no blocks.
    """
    changes = []
    for kernel in _clipped(trace.kernels, trace.duration):
        if kernel.blocks_per_sm is not None:
            changes += [(kernel.start, kernel.blocks_per_sm), (kernel.end, -kernel.blocks_per_sm)]
    if not changes:
        return None
    integral, blocks, before = 0.0, 0.0, 0.0
    for time, change in sorted(changes):
        integral += min(max(blocks, 0.0), 1.0) * (time - before)
        blocks += change
        before = time
    return integral / trace.duration


def achieved_occupancy(trace: Trace) -> float | None:
    """The share of a multiprocessor's warps that were active, in [0, 1]: a mean over the kernels,
    weighted by their time. None if the trace has no occupancy."""
    kernels = [k for k in _clipped(trace.kernels, trace.duration) if k.occupancy is not None]
    total = sum(kernel.end - kernel.start for kernel in kernels)
    weighted = sum(kernel.occupancy * (kernel.end - kernel.start) for kernel in kernels)
    return weighted / total if total else None


def idle_gaps(trace: Trace) -> list[Interval]:
    """The times of the window in which the GPU did nothing, in order; none without a GPU.

    A gap lasts from the end of a kernel, copy or fill to the next one's start, on any stream.
    """
    if not trace.work:
        return []
    worked = [edge for interval in busy(trace.work, trace.duration) for edge in interval]
    edges = [0.0, *worked, trace.duration]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def covered(spans: Iterable[Span], trace: Trace) -> float:
    """µs of the window in which at least one of them ran."""
    return sum(end - start for start, end in busy(spans, trace.duration))


def busy(spans: Iterable[Span], end: float) -> list[Interval]:
    """When at least one of them ran between 0 and `end`: separate intervals, in order."""
    joined: list[Interval] = []
    for span in sorted(_clipped(spans, end), key=lambda one: one.start):
        if joined and span.start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span.end))
        else:
            joined.append((span.start, span.end))
    return joined


def launching_operators(trace: Trace) -> list[Span]:
    """The innermost operators, in order, of the thread that runs most of them: it launches the
    GPU's work. They don't overlap."""
    return innermost(max(_by_thread(trace.operators), key=len, default=[]))


def innermost(spans: Iterable[Span]) -> list[Span]:
    """Cuts nested spans of one thread, sorted by start and outer ones first, into pieces that don't
    overlap: the innermost operator has the time."""
    pieces: list[Span] = []
    # With the end of each: never behind the end of the one around it.
    running: list[tuple[float, Span]] = []
    now = 0.0

    def run_until(time: float) -> None:
        nonlocal now
        while running:
            end, span = running[-1]
            until = min(end, time)
            if now < until:
                pieces.append(Span(span.name, now, until))
                now = until
            if end > time + RESOLUTION:
                return
            running.pop()

    for span in spans:
        run_until(span.start)
        now = span.start
        running.append((min(span.end, running[-1][0]) if running else span.end, span))
    run_until(math.inf)
    return pieces


def top_operators(trace: Trace, count: int | None = 10) -> list[OperatorTime]:
    """The operators of the window by self time, the longest first; None: all of them.

    Calls into CUDA count for the operator that makes them: also the waiting for its results.
    """
    within = [span for span in trace.operators if span.end > 0 and span.start < trace.duration]
    calls = Counter(span.name for span in within)
    own = Counter[str]()
    for thread in _by_thread(trace.operators):
        for piece in _clipped(innermost(thread), trace.duration):
            own[piece.name] += piece.end - piece.start
    found = [OperatorTime(name, calls[name], own[name] / 1e6) for name in calls]
    return sorted(found, key=lambda one: (-one.self_seconds, one.name))[:count]


def parts(trace: Trace) -> dict[str, float]:
    """The share of the window in which the processor was in each `record_function` mark, by name,
    in the order of their start. Marks nest: "reader" holds "backbone" and "encoder"."""
    marks: dict[str, list[Span]] = defaultdict(list)
    for mark in _clipped(trace.marks, trace.duration):
        marks[mark.name].append(mark)
    return {name: covered(spans, trace) / trace.duration for name, spans in marks.items()}


def _by_thread(spans: Iterable[Span]) -> list[list[Span]]:
    threads: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        threads[span.thread].append(span)
    return list(threads.values())


def _clipped(spans: Iterable[Span], end: float) -> Iterator[Span]:
    """What of the spans lies between 0 and `end`."""
    for span in spans:
        if span.start < 0 or span.end > end:
            span = replace(span, start=max(span.start, 0.0), end=min(span.end, end))
        if span.start < span.end:
            yield span
