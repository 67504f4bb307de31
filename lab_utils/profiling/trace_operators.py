"""What the processor did in a trace: which operator ran when, and where the time of a batch went.

Operators nest: the time of one is its own but for what the operators within it took.
"""

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

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
"""µs: the profiler counts ns, which a float of its times since the start of the machine can't tell.
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


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` to `end` (µs), `span` is the innermost one that runs on its thread."""

    start: float
    end: float
    span: Span


def innermost(spans: Iterable[Span]) -> list[Stretch]:
    """Cuts nested spans of one thread, sorted by start and outer ones first, into stretches that
    don't overlap: whoever runs innermost has the time."""
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
                stretches.append(Stretch(now, until, span))
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


class Launches:
    """Finds for a GPU's work what launched it: the trace joins the two by a number, the
    correlation of the work and of the call into CUDA."""

    def __init__(self, trace: Trace) -> None:
        self._calls = {c.correlation: c for c in trace.calls if c.correlation is not None}
        self._stretches = {
            thread: innermost(spans) for thread, spans in by_thread(trace.operators).items()
        }
        self._starts = {t: [s.start for s in own] for t, own in self._stretches.items()}

    def call(self, work: Work) -> Span | None:
        """The call into CUDA that launched the work; None where the trace does not tell."""
        return self._calls.get(work.correlation)

    def operator(self, work: Work) -> Span | None:
        """The innermost operator that launched the work; None where there was none."""
        call = self.call(work)
        return None if call is None else self.running(call.thread, call.start)

    def running(self, thread: str, time: float) -> Span | None:
        """The innermost operator that runs on a thread at a time in µs."""
        position = bisect.bisect_right(self._starts.get(thread, ()), time) - 1
        if position < 0:
            return None
        stretch = self._stretches[thread][position]
        return stretch.span if time < stretch.end else None

    def stretches(self, thread: str) -> list[Stretch]:
        """The innermost operators of a thread, one after the other."""
        return self._stretches.get(thread, [])

    def between(self, thread: str | None, start: float, end: float) -> list[Stretch]:
        """Those of a thread's stretches that overlap an interval in µs."""
        own, starts = self._stretches.get(thread, []), self._starts.get(thread, [])
        first = max(bisect.bisect_right(starts, start) - 1, 0)
        last = bisect.bisect_left(starts, end)
        return [stretch for stretch in own[first:last] if stretch.end > start]


def by_thread(spans: Iterable[Span]) -> dict[str, list[Span]]:
    threads: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        threads[span.thread].append(span)
    return dict(threads)


def top_operators(trace: Trace, count: int | None = 10) -> list[OperatorTime]:
    """The operators of the window by self time, the longest first; None: all of them.

    Calls into CUDA count for the operator that makes them: also the waiting for its results.
    """
    launches = Launches(trace)
    own: dict[str, float] = defaultdict(float)
    runs: dict[tuple[str, str], list[Interval]] = defaultdict(list)
    device: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for thread, spans in by_thread(trace.operators).items():
        for span in spans:
            if span.end > 0 and span.start < trace.duration:
                calls[span.name] += 1
                runs[thread, span.name].append((span.start, span.end))
        for stretch in launches.stretches(thread):
            own[stretch.span.name] += _inside(stretch.start, stretch.end, trace)
    for work in trace.work:
        operator = launches.operator(work)
        if operator is not None:
            device[operator.name] += _inside(work.start, work.end, trace)
    total: dict[str, float] = defaultdict(float)
    for (_, name), intervals in runs.items():
        # Joined, since an operator can call itself: the inner call is no time of its own.
        total[name] += length(clipped(union(intervals), 0, trace.duration))
    found = [
        OperatorTime(name, calls[name], own[name] / 1e6, total[name] / 1e6, device[name] / 1e6)
        for name in calls
    ]
    found.sort(key=lambda one: (-one.self_seconds, one.name))
    return found[:count]


def cpu_seconds(trace: Trace) -> float:
    """s of the window in which the processor worked in operators and calls into CUDA, over all
    threads that the trace shows; waiting for the GPU is not counted. The threads within an
    operator are not in a trace: eight of them at work for a second count as one second."""
    busy = 0.0
    for spans in by_thread(trace.operators + trace.calls).values():
        at_work = union([(span.start, span.end) for span in spans])
        waits = union([(span.start, span.end) for span in spans if span.name in WAITING_CALLS])
        busy += length(clipped(at_work, 0, trace.duration))
        busy -= length(clipped(waits, 0, trace.duration))
    return busy / 1e6


def memory(trace: Trace) -> dict[str, int]:
    """The most bytes that were allocated at once on each device, "CPU", "GPU 0", ...: empty if
    the profiler was not told to record memory."""
    most: dict[str, int] = {}
    for record in trace.memory:
        most[record.device] = max(most.get(record.device, 0), record.allocated)
    return dict(sorted(most.items()))


def parts(trace: Trace, on_device: bool | None = None) -> dict[str, float]:
    """The share of the window in each `record_function` mark, by name, in the order of their start.

    Marks nest: the share of "reader" holds those of "backbone" and "encoder". With the GPU's time,
    it is that of the work which was launched within the mark; what is missing to 1 is then the time
    in which the GPU did nothing for any mark.

    Args:
        on_device: whether the processor's time or the GPU's is told; None: the GPU's if it worked.
    """
    if on_device is None:
        on_device = bool(trace.work)
    marks: dict[str, list[Span]] = {}
    for mark in trace.marks:
        if mark.end > 0 and mark.start < trace.duration:
            marks.setdefault(mark.name, []).append(mark)
    if not on_device:
        return {name: _host_share(spans, trace) for name, spans in marks.items()}
    launched: dict[str, list[tuple[float, Work]]] = defaultdict(list)
    calls = {call.correlation: call for call in trace.calls if call.correlation is not None}
    for work in trace.work:
        call = calls.get(work.correlation)
        if call is not None:
            launched[call.thread].append((call.start, work))
    for own in launched.values():
        own.sort(key=lambda pair: pair[0])
    return {name: _device_share(spans, launched, trace) for name, spans in marks.items()}


def _host_share(marks: Iterable[Span], trace: Trace) -> float:
    threads = by_thread(marks).values()
    spans = [union([(mark.start, mark.end) for mark in own]) for own in threads]
    return sum(length(clipped(own, 0, trace.duration)) for own in spans) / trace.duration


def _device_share(
    marks: Iterable[Span], launched: dict[str, Sequence[tuple[float, Work]]], trace: Trace
) -> float:
    busy: dict[int, list[Interval]] = defaultdict(list)
    for mark in marks:
        own = launched.get(mark.thread, ())
        first = bisect.bisect_left(own, mark.start, key=lambda pair: pair[0])
        last = bisect.bisect_left(own, mark.end, key=lambda pair: pair[0])
        for _, work in own[first:last]:
            busy[work.device].append((work.start, work.end))
    seconds = (length(clipped(union(own), 0, trace.duration)) for own in busy.values())
    return sum(seconds) / trace.duration


def _inside(start: float, end: float, trace: Trace) -> float:
    """µs of an interval that lie within the window."""
    return max(0.0, min(end, trace.duration) - max(start, 0.0))
