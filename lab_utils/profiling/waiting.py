"""What the GPU waits for: the gaps between its work, and what the processor does meanwhile.

A small batch launches kernels that end before the next is launched; then the processor sets the
pace, and the operator that runs in the gap is the one to look at.
"""

from collections import defaultdict
from dataclasses import dataclass

from lab_utils.profiling.gpu_figures import busy
from lab_utils.profiling.trace import Trace
from lab_utils.profiling.trace_events import Work
from lab_utils.profiling.trace_operators import Launches

NO_OPERATOR = "(between operators)"
"""The program itself: Python, the interpreter of TorchScript, or another thread."""


@dataclass(frozen=True)
class Gap:
    """A time within the window in which a GPU did nothing, in µs."""

    device: int
    start: float
    end: float
    during: dict[str, float]
    """µs of the gap by the operator that ran innermost on the launching thread, longest first."""
    launcher: str | None
    """The operator that launched the work which ends the gap; None where the trace does not tell,
    and for the gap up to the window's end."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e6


@dataclass(frozen=True)
class Waiting:
    """What the GPUs waited for because of one operator."""

    name: str
    seconds: float
    """s in which the GPU was idle while this operator ran innermost."""
    gaps: int
    """The number of gaps that it had a part in."""


def idle_gaps(trace: Trace) -> list[Gap]:
    """The gaps of each GPU that did anything, in order; the first may begin with the window.

    A gap counts from the end of a kernel, copy or fill to the next one's start, on any stream. The
    operators are those of the thread that launched the work which ends the gap.
    """
    launches = Launches(trace)
    gaps: list[Gap] = []
    for device in sorted({work.device for work in trace.work}):
        first_at = _first_at(trace, device)
        thread = _main_thread(trace, device, launches)
        now = 0.0
        for start, end in [*busy(trace, device), (trace.duration, trace.duration)]:
            if start > now:
                work = first_at.get(start)
                call = launches.call(work) if work else None
                operator = launches.operator(work) if work else None
                during = _during(launches, call.thread if call else thread, now, start)
                gaps.append(Gap(device, now, start, during, operator.name if operator else None))
            now = end
    return gaps


def waiting_operators(trace: Trace, count: int | None = 10) -> list[Waiting]:
    """The operators that ran while the GPU was idle, by the time that it waited; None: all."""
    seconds: dict[str, float] = defaultdict(float)
    gaps: dict[str, int] = defaultdict(int)
    for gap in idle_gaps(trace):
        for name, time in gap.during.items():
            seconds[name] += time / 1e6
            gaps[name] += 1
    found = [Waiting(name, seconds[name], gaps[name]) for name in seconds]
    found.sort(key=lambda one: (-one.seconds, one.name))
    return found[:count]


def _first_at(trace: Trace, device: int) -> dict[float, Work]:
    """The work of a GPU by its start; the first of the trace where several start together."""
    found: dict[float, Work] = {}
    for work in trace.work:
        if work.device == device:
            found.setdefault(work.start, work)
    return found


def _main_thread(trace: Trace, device: int, launches: Launches) -> str | None:
    """The thread that launched most of a GPU's work."""
    counts: dict[str, int] = defaultdict(int)
    for work in trace.work:
        call = launches.call(work)
        if work.device == device and call is not None:
            counts[call.thread] += 1
    return max(counts, key=counts.__getitem__, default=None)


def _during(launches: Launches, thread: str | None, start: float, end: float) -> dict[str, float]:
    times: dict[str, float] = defaultdict(float)
    for stretch in launches.between(thread, start, end):
        times[stretch.span.name] += min(stretch.end, end) - max(stretch.start, start)
    rest = end - start - sum(times.values())
    if rest > 1e-3:  # below a ns it is rounding
        times[NO_OPERATOR] = rest
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))
