"""What the GPU waits for: the gaps between its work, and what the processor does meanwhile.

A small batch launches kernels that end before the next is launched; then the processor sets the
pace, and the operator that runs in the gap is the one to look at.
"""

import bisect
from collections import Counter
from dataclasses import dataclass

from lab_utils.profiling.gpu_figures import busy
from lab_utils.profiling.trace import Trace
from lab_utils.profiling.trace_operators import Stretch, launching_stretches

NO_OPERATOR = "(between operators)"
"""The program itself: Python, the interpreter of TorchScript, or another thread."""


@dataclass(frozen=True)
class Gap:
    """A time within the window in which the GPU did nothing, in µs."""

    start: float
    end: float
    during: dict[str, float]
    """µs of the gap by the operator that ran innermost on the launching thread, longest first."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e6


def idle_gaps(trace: Trace) -> list[Gap]:
    """The gaps between the GPU's work, in order; the first may begin with the window, and the last
    end with it. None for a trace without a GPU.

    A gap counts from the end of a kernel, copy or fill to the next one's start, on any stream.
    """
    if not trace.work:
        return []
    gaps, now, stretches = [], 0.0, launching_stretches(trace)
    for start, end in [*busy(trace.work, trace), (trace.duration, trace.duration)]:
        if start > now:
            gaps.append(Gap(now, start, _during(stretches, now, start)))
        now = end
    return gaps


def waiting_operators(trace: Trace, count: int | None = 10) -> dict[str, float]:
    """s that the GPU was idle while this operator ran, the longest first; None: all operators."""
    seconds = Counter[str]()
    for gap in idle_gaps(trace):
        for name, time in gap.during.items():
            seconds[name] += time / 1e6
    return dict(seconds.most_common(count))


def _during(stretches: list[Stretch], start: float, end: float) -> dict[str, float]:
    times = Counter[str]()
    first = max(bisect.bisect_right(stretches, start, key=lambda one: one.start) - 1, 0)
    last = bisect.bisect_left(stretches, end, key=lambda one: one.start)
    for stretch in stretches[first:last]:
        times[stretch.name] += max(0.0, min(stretch.end, end) - max(stretch.start, start))
    rest = end - start - times.total()
    if rest > 1e-3:  # below a ns it is rounding
        times[NO_OPERATOR] = rest
    return {name: time for name, time in times.most_common() if time > 0}
