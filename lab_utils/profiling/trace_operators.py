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

from lab_utils.profiling.gpu_figures import covered
from lab_utils.profiling.trace import Span, Trace, Work

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


def launching_stretches(trace: Trace) -> list[Stretch]:
    """The innermost operators, in order, of the thread that launched most of the GPU's work; of the
    thread with most operators if the trace has no launches."""
    calls, threads = launching_calls(trace), by_thread(trace.operators)
    launching = Counter(calls[w.correlation].thread for w in trace.work if w.correlation in calls)
    busiest = max(threads, key=lambda thread: len(threads[thread]), default="")
    chosen = launching.most_common(1)[0][0] if launching else busiest
    return innermost(threads.get(chosen, []))


def top_operators(trace: Trace, count: int | None = 10) -> list[OperatorTime]:
    """The operators of the window by self time, the longest first; None: all of them.

    Calls into CUDA count for the operator that makes them: also the waiting for its results.
    """
    threads = by_thread(trace.operators)
    stretches = {thread: innermost(spans) for thread, spans in threads.items()}
    within = [span for span in trace.operators if span.end > 0 and span.start < trace.duration]
    calls = Counter(span.name for span in within)
    own, device = Counter[str](), Counter[str]()
    for stretch in (one for each in stretches.values() for one in each):
        own[stretch.name] += _inside(stretch, trace)
    launches = launching_calls(trace)
    for work in trace.work:
        call = launches.get(work.correlation)
        if call and (running := _at(stretches.get(call.thread, []), call.start)):
            device[running.name] += _inside(work, trace)
    found = [OperatorTime(name, calls[name], own[name] / 1e6, device[name] / 1e6) for name in calls]
    return sorted(found, key=lambda one: (-one.self_seconds, one.name))[:count]


def parts(trace: Trace) -> dict[str, float]:
    """The share of the window in which the processor was in each `record_function` mark, by name,
    in the order of their start. Marks nest: "reader" holds "backbone" and "encoder"."""
    marks: dict[str, list[Span]] = {}
    for mark in trace.marks:
        if mark.end > 0 and mark.start < trace.duration:
            marks.setdefault(mark.name, []).append(mark)
    return {name: covered(spans, trace) / trace.duration for name, spans in marks.items()}


def _at(intervals: Sequence[tuple], time: float) -> Any:
    """Which of the sorted, separate intervals holds a time in µs; None if none does."""
    position = bisect.bisect_right(intervals, time, key=lambda one: one[0]) - 1
    return intervals[position] if position >= 0 and time < intervals[position][1] else None


def _inside(one: Stretch | Work, trace: Trace) -> float:
    """µs that lie within the window."""
    return max(0.0, min(one.end, trace.duration) - max(one.start, 0.0))
