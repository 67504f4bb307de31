"""How busy a trace shows the GPU to be: utilization, SM efficiency, achieved occupancy.

The formulas are those of torch-tb-profiler 0.4.3 (`gpu_metrics_parser.py`), which calls the last
two estimates: they follow from the kernels' grids, not from counters of the GPU.
"""

from collections.abc import Callable, Iterable

from lab_utils.profiling.trace import Trace
from lab_utils.profiling.trace_events import Work

Interval = tuple[float, float]
"""Start and end, in µs."""


def gpu_utilization(trace: Trace) -> float | None:
    """The share of the window in which at least one kernel ran, as a mean over the GPUs that ran
    one; None if no GPU did anything."""
    return _mean(trace, _utilization)


def sm_efficiency(trace: Trace) -> float | None:
    """The mean share, over the window, of a GPU's multiprocessors that had work.

    At each moment this is the number of blocks a multiprocessor of all the kernels that run, but at
    most 1. None if the trace has no blocks. Of several GPUs, their mean.
    """
    return _mean(trace, _efficiency)


def achieved_occupancy(trace: Trace) -> float | None:
    """The mean over the kernels, weighted by their time, of the warps that were active out of those
    that a multiprocessor can hold, in [0, 1]; the plugin shows it in percent.

    None if the trace has no occupancy. Of several GPUs, their mean.
    """
    return _mean(trace, _occupancy)


def device_seconds(trace: Trace) -> float:
    """s of the window in which GPUs ran kernels, copied or filled memory; 0 without a GPU."""
    return sum(length(busy(trace, one)) for one in {work.device for work in trace.work}) / 1e6


def busy(trace: Trace, device: int) -> list[Interval]:
    """When the GPU worked within the window, as intervals that neither touch nor overlap, in µs."""
    own = ((work.start, work.end) for work in trace.work if work.device == device)
    return clipped(union(own), 0, trace.duration)


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


def length(intervals: Iterable[Interval]) -> float:
    return sum(end - start for start, end in intervals)


def _mean(trace: Trace, figure: Callable[[Trace, list[Work]], float | None]) -> float | None:
    kernels: dict[int, list[Work]] = {}
    for kernel in trace.kernels:
        kernels.setdefault(kernel.device, []).append(kernel)
    values = [figure(trace, own) for own in kernels.values()]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _utilization(trace: Trace, kernels: list[Work]) -> float:
    intervals = union((kernel.start, kernel.end) for kernel in kernels)
    return length(clipped(intervals, 0, trace.duration)) / trace.duration


def _efficiency(trace: Trace, kernels: list[Work]) -> float | None:
    changes = []
    for kernel in kernels:
        start, end = max(kernel.start, 0.0), min(kernel.end, trace.duration)
        if kernel.blocks_per_sm is not None and start < end:
            changes.append((start, kernel.blocks_per_sm))
            changes.append((end, -kernel.blocks_per_sm))
    if not changes:
        return None
    integral, blocks, before = 0.0, 0.0, 0.0
    for time, change in sorted(changes):
        integral += min(max(blocks, 0.0), 1.0) * (time - before)
        blocks += change
        before = time
    return integral / trace.duration


def _occupancy(trace: Trace, kernels: list[Work]) -> float | None:
    weighted, total = 0.0, 0.0
    for kernel in kernels:
        inside = min(kernel.end, trace.duration) - max(kernel.start, 0.0)
        if kernel.occupancy is not None and inside > 0:
            weighted += kernel.occupancy * inside
            total += inside
    return weighted / total if total else None
