"""What the processor did in a trace: which operator ran when, and where the time of a batch went.

Operators nest: the time of one is its own but for what the operators within it took.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field, FiniteFloat

from lab_utils.profiling.gpu_figures import Interval, clipped, length, union
from lab_utils.profiling.trace import Trace
from lab_utils.profiling.trace_events import Span, Work

WAITING_CALLS = (
    "cudaDeviceSynchronize",
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "cuCtxSynchronize",
    "cuStreamSynchronize",
    "cuEventSynchronize",
)
"""Calls within which the processor only waits for the GPU."""

RESOLUTION = 0.002
"""µs: the profiler counts ns, which a float of its times since the start of the machine can't show.
Who starts that little before another's end follows it, and is not within it."""

Amount = Annotated[FiniteFloat, Field(ge=0)]
"""A time or a share, as a profile's file must have it."""


@dataclass(frozen=True)
class OperatorTime:
    """What all the calls of an operator took within the window."""

    name: str
    calls: Annotated[int, Field(ge=0)]
    self_seconds: Amount
    """s of the processor, without the operators within it."""
    total_seconds: Amount
    """s of the processor with the operators within it."""
    device_seconds: Amount
    """s of the GPU for the work that it launched itself."""


class Stretch(NamedTuple):
    """From `start` to `end` (µs), this operator is the innermost one that runs on its thread."""

    start: float
    end: float
    name: str


def innermost(spans: Iterable[Span]) -> list[Stretch]:
    """Cuts nested spans of one thread, sorted by start and outer ones first, into stretches that
    don't overlap: the innermost operator has the time."""
    stretches: list[Stretch] = []
    # With the end of each: never behind the end of the one around it.
    running: list[tuple[float, Span]] = []
    now = 0.0

    def run_until(time: float) -> None:
        nonlocal now
        while running:
            end, span = running[-1]
            until = min(end, time)
            if now < until:
                stretches.append(Stretch(now, until, span.name))
                now = until
            if end > time + RESOLUTION:
                return
            running.pop()

    for span in spans:
        run_until(span.start)
        now = span.start
        running.append((min(span.end, running[-1][0]) if running else span.end, span))
    run_until(math.inf)
    return stretches


def by_thread(spans: Iterable[Span]) -> dict[str, list[Span]]:
    threads: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        threads[span.thread].append(span)
    return dict(threads)


def launching_calls(trace: Trace) -> dict[int, Span]:
    """The calls into CUDA by the number that they share with the work which they launched."""
    return {call.correlation: call for call in trace.calls if call.correlation is not None}


def launching_stretches(trace: Trace, device: int | None = None) -> list[Stretch]:
    """The innermost operators, in order, of the thread that launched most of a GPU's work; of the
    thread with most operators if the trace says nothing of launches. None: of any GPU."""
    calls = launching_calls(trace)
    own = [work for work in trace.work if device in (None, work.device)]
    launching = Counter(calls[w.correlation].thread for w in own if w.correlation in calls)
    threads = by_thread(trace.operators)
    if launching:
        return innermost(threads.get(launching.most_common(1)[0][0], []))
    return [] if own else innermost(max(threads.values(), key=len, default=[]))


def top_operators(trace: Trace, count: int | None = 10) -> list[OperatorTime]:
    """The operators of the window by self time, the longest first; None: all of them.

    Calls into CUDA count for the operator that makes them: also the waiting for its results.
    """
    own, device = Counter[str](), _device_times(trace)
    calls, total = Counter[str](), Counter[str]()
    for spans in by_thread(trace.operators).values():
        runs: dict[str, list[Interval]] = defaultdict(list)
        for span in spans:
            if span.end > 0 and span.start < trace.duration:
                calls[span.name] += 1
                runs[span.name].append((span.start, span.end))
        for stretch in innermost(spans):
            own[stretch.name] += _inside(stretch, trace)
        for name, intervals in runs.items():
            # Joined, since an operator can call itself: the inner call is no time of its own.
            total[name] += length(clipped(union(intervals), 0, trace.duration))
    found = [
        OperatorTime(name, calls[name], own[name] / 1e6, total[name] / 1e6, device[name] / 1e6)
        for name in calls
    ]
    return sorted(found, key=lambda one: (-one.self_seconds, one.name))[:count]


def _device_times(trace: Trace) -> Counter[str]:
    """µs of the GPU by the innermost operator that launched the work."""
    calls, times = launching_calls(trace), Counter[str]()
    stretches = {thread: innermost(own) for thread, own in by_thread(trace.operators).items()}
    for work in trace.work:
        call = calls.get(work.correlation)
        running = _at(stretches.get(call.thread, []), call.start) if call else None
        if running:
            times[running.name] += _inside(work, trace)
    return times


def cpu_seconds(trace: Trace) -> float:
    """s of the window in which the processor worked in operators and calls into CUDA, over all
    threads that the trace shows; waiting for the GPU is not counted. The threads within an
    operator are not in a trace: eight of them at work for a second count as one second."""
    busy = 0.0
    for spans in by_thread(trace.operators + trace.calls).values():
        waits = [span for span in spans if span.name in WAITING_CALLS]
        busy += _covered(spans, trace) - _covered(waits, trace)
    return busy / 1e6


def parts(trace: Trace, on_device: bool | None = None) -> dict[str, float]:
    """The share of the window in each `record_function` mark, by name, in the order of their start.

    Marks nest: the share of "reader" holds those of "backbone" and "encoder". With the GPU's time,
    it is that of the work which was launched within the mark; what is missing to 1 is then the time
    in which the GPU did nothing for any mark.

    Args:
        on_device: the GPU's time instead of the processor's; None: the GPU's if it worked.
    """
    marks: dict[str, list[Span]] = {}
    for mark in trace.marks:
        if mark.end > 0 and mark.start < trace.duration:
            marks.setdefault(mark.name, []).append(mark)
    if on_device or (on_device is None and trace.work):
        return {name: _device_share(spans, trace) for name, spans in marks.items()}
    return {
        name: sum(_covered(own, trace) for own in by_thread(spans).values()) / trace.duration
        for name, spans in marks.items()
    }


def _device_share(marks: list[Span], trace: Trace) -> float:
    """The share of the window in which a GPU did what was launched within the marks."""
    calls = launching_calls(trace)
    threads = {
        thread: union((mark.start, mark.end) for mark in own)
        for thread, own in by_thread(marks).items()
    }
    launched: dict[int, list[Work]] = defaultdict(list)
    for work in trace.work:
        call = calls.get(work.correlation)
        if call and _at(threads.get(call.thread, []), call.start):
            launched[work.device].append(work)
    return sum(_covered(own, trace) for own in launched.values()) / trace.duration


def _at(intervals: Sequence[tuple], time: float) -> Any:
    """Which of the sorted, separate intervals holds a time in µs; None if none does."""
    position = bisect.bisect_right(intervals, time, key=lambda one: one[0]) - 1
    return intervals[position] if position >= 0 and time < intervals[position][1] else None


def _covered(spans: Iterable[Span | Work], trace: Trace) -> float:
    """µs of the window in which at least one of them ran."""
    intervals = union((span.start, span.end) for span in spans)
    return length(clipped(intervals, 0, trace.duration))


def _inside(one: Stretch | Work, trace: Trace) -> float:
    """µs that lie within the window."""
    return max(0.0, min(one.end, trace.duration) - max(one.start, 0.0))
