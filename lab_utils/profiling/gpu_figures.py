"""How busy a trace shows the GPU to be: utilization, SM efficiency, achieved occupancy.

The formulas are those of torch-tb-profiler 0.4.3 (`gpu_metrics_parser.py`), which calls the last
two estimates: they follow from the kernels' grids, not from counters of the GPU.
"""

from collections.abc import Iterable

from lab_utils.profiling.trace import Span, Trace, Work

Interval = tuple[float, float]
"""Start and end, in µs."""


def gpu_utilization(trace: Trace) -> float | None:
    """The share of the window in which at least one kernel ran; None without a kernel."""
    return covered(trace.kernels, trace) / trace.duration if trace.kernels else None


def sm_efficiency(trace: Trace) -> float | None:
    """The mean share, over the window, of the GPU's multiprocessors that had work.

    At each moment this is the number of blocks a multiprocessor of all the kernels that run, but at
    most 1. None if the trace has no blocks.
    """
    changes = []
    for kernel, start, end in _inside(trace):
        if kernel.blocks_per_sm is not None:
            changes += [(start, kernel.blocks_per_sm), (end, -kernel.blocks_per_sm)]
    if not changes:
        return None
    integral, blocks, before = 0.0, 0.0, 0.0
    for time, change in sorted(changes):
        integral += min(max(blocks, 0.0), 1.0) * (time - before)
        blocks += change
        before = time
    return integral / trace.duration


def achieved_occupancy(trace: Trace) -> float | None:
    """The mean over the kernels, weighted by their time, of the warps that were active out of those
    that a multiprocessor can hold, in [0, 1]; the plugin shows it in percent.

    None if the trace has no occupancy.
    """
    known = [(one.occupancy, end - start) for one, start, end in _inside(trace)]
    known = [(occupancy, time) for occupancy, time in known if occupancy is not None]
    total = sum(time for _, time in known)
    return sum(occupancy * time for occupancy, time in known) / total if total else None


def idle_gaps(trace: Trace) -> list[Interval]:
    """The times of the window in which the GPU did nothing, in order; none without a GPU.

    A gap counts from the end of a kernel, copy or fill to the next one's start, on any stream.
    """
    worked = busy(trace.work, trace) if trace.work else [(0.0, trace.duration)]
    edges = [0.0, *(edge for interval in worked for edge in interval), trace.duration]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def covered(spans: Iterable[Span | Work], trace: Trace) -> float:
    """µs of the window in which at least one of them ran."""
    return sum(end - start for start, end in busy(spans, trace))


def busy(spans: Iterable[Span | Work], trace: Trace) -> list[Interval]:
    """When at least one of them ran within the window: intervals in order, none of which touch."""
    return clipped(union((span.start, span.end) for span in spans), 0, trace.duration)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals joined where they overlap or touch, in order."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def clipped(intervals: Iterable[Interval], start: float, end: float) -> list[Interval]:
    """What of the intervals lies between start and end."""
    cut = ((max(first, start), min(last, end)) for first, last in intervals)
    return [(first, last) for first, last in cut if first < last]


def _inside(trace: Trace) -> list[tuple[Work, float, float]]:
    """The kernels with what of their start and end lies within the window."""
    cut = [(one, max(one.start, 0.0), min(one.end, trace.duration)) for one in trace.kernels]
    return [(one, start, end) for one, start, end in cut if start < end]
