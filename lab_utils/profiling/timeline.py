"""A picture of one batch, drawn from its trace: the model's parts, the processor, the GPU.

It answers what a batch waits for: which part takes the time, and whether the GPU is kept busy.
Thousands of events fall on few pixels, so the time is cut into bins: the height of a row shows the
share of a bin in which anything ran, its layers what that was.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, HATCHES
from lab_utils.profiling.gpu_figures import Interval, clipped, union
from lab_utils.profiling.trace import Trace, TraceError
from lab_utils.profiling.trace_events import Span, Work
from lab_utils.profiling.trace_operators import RESOLUTION, by_thread, innermost

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 200
"""Bins of the time axis."""
NAMED = 5
"""Operators, and kernels, that get a look of their own; the others share one."""
MOST_THREADS, MOST_ROWS = 2, 8
"""Threads, and depths of marks or streams, that are drawn at most."""
OTHER, COPIES, FILLS = "other", "copies", "fills"
_HATCHES = (*HATCHES, "+++", "***", "|||", "---")
"""What tells names apart without colours."""

Piece = tuple[float, float, str]
"""Start and end in µs, and the name of what runs."""
Row = tuple[str, list[Piece]]
"""Title and pieces, which don't overlap."""


def timeline(trace: Trace) -> "Figure":
    """Draws the last step of a trace: marks above, then the busiest threads, then GPU streams.

    A thread's row shows the operator that runs innermost. A trace without a GPU gets no rows for
    one. The axis starts with the step and ends when the processor is done with it, and the GPU with
    the work that was launched in it.

    Raises:
        TraceError: nothing happened in the step.
    """
    from matplotlib.figure import Figure

    start, end = _extent(trace)
    marks = _mark_rows(trace, start, end)
    groups = [_thread_rows(trace, start, end), _stream_rows(trace, start, end)]
    count = len(marks) + sum(map(len, groups))
    if not count:
        raise TraceError(f"{trace.path} shows nothing within {trace.steps[-1].name}.")
    figure = Figure(figsize=(10, 0.9 + 0.62 * count), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)
    every: list[Axes] = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    names = list(dict.fromkeys(name for _, pieces in marks for *_, name in pieces))
    for axes, row in zip(every, marks, strict=False):
        _draw_marks(axes, row, names, start, end)
    if marks:
        _legend(every[0], names)
    first = len(marks)
    for rows in filter(None, groups):
        _draw_group(every[first : first + len(rows)], rows, start, end)
        first += len(rows)
    for axes in every:
        axes.set(ylim=(0, 1), yticks=[0.5], xlim=(0, (end - start) / 1e3))
        axes.tick_params(left=False, bottom=axes is every[-1], labelsize=8)
    note = "the height of a row: the share of the time in which anything ran"
    every[-1].set_xlabel(f"time since the batch began in ms ({note})", fontsize=9)
    return figure


@functools.lru_cache(maxsize=4096)
def short_name(name: str) -> str:
    """The name of an operator or a kernel without namespaces, template arguments and return type.

    "void at::native::vectorized_elementwise_kernel<4, ...>(int, ...)" is known as
    "vectorized_elementwise_kernel".
    """
    bare = name.replace("(anonymous namespace)::", "").removeprefix("void ")
    bare = re.split(r"[<(]", bare, maxsplit=1)[0].strip() or name
    bare = bare.rsplit("::", 1)[-1] or bare
    return bare if len(bare) <= 34 else f"{bare[:20]}…{bare[-13:]}"


def _extent(trace: Trace) -> Interval:
    own = trace.steps[-1]
    if own.end <= own.start:
        raise TraceError(f"{own.name} of {trace.path} has no duration; record it again.")
    calls = (call for call in trace.calls if own.start <= call.start < own.end)
    launched = {call.correlation for call in calls if call.correlation is not None}
    ends = (work.end for work in trace.work if work.correlation in launched)
    return own.start, max(own.end, max(ends, default=own.end))


def _mark_rows(trace: Trace, start: float, end: float) -> list[Row]:
    """The marks by depth: a mark within another one is drawn below it."""
    inside = [mark for mark in trace.marks if mark.end > start and mark.start < end]
    rows: list[Row] = []
    for spans in by_thread(inside).values():
        around: list[Span] = []
        for mark in spans:
            while around and around[-1].end <= mark.start + RESOLUTION:
                around.pop()
            if len(around) == len(rows):
                rows.append(("" if rows else "parts", []))
            rows[len(around)][1].append((mark.start, mark.end, short_name(mark.name)))
            around.append(mark)
    return rows[:MOST_ROWS]


def _thread_rows(trace: Trace, start: float, end: float) -> list[Row]:
    """What runs innermost on each of the busiest threads."""
    found = [
        [(one.start, one.end, short_name(one.name)) for one in innermost(spans)]
        for spans in by_thread(trace.operators).values()
    ]
    chosen = _busiest([_within(pieces, start, end) for pieces in found])[:MOST_THREADS]
    if len(chosen) == 1:
        return [("processor", chosen[0])]
    return [(f"processor,\nthread {number}", own) for number, own in enumerate(chosen, start=1)]


def _stream_rows(trace: Trace, start: float, end: float) -> list[Row]:
    streams: dict[str, list[Piece]] = defaultdict(list)
    several = len({work.device for work in trace.work}) > 1
    for work in sorted(trace.work, key=lambda one: (one.device, one.stream, one.start)):
        title = f"GPU{f' {work.device}' if several else ''},\nstream {work.stream}"
        streams[title].append((work.start, work.end, _work_name(work)))
    rows = {title: _within(pieces, start, end) for title, pieces in streams.items()}
    chosen = _busiest(list(rows.values()))[:MOST_ROWS]
    return [(title, own) for title, own in rows.items() if any(own is one for one in chosen)]


def _work_name(work: Work) -> str:
    return {"copy": COPIES, "fill": FILLS}.get(work.kind) or short_name(work.name)


def _within(pieces: Sequence[Piece], start: float, end: float) -> list[Piece]:
    cut = ((max(first, start), min(last, end), name) for first, last, name in pieces)
    return [piece for piece in cut if piece[0] < piece[1]]


def _busiest(rows: list[list[Piece]]) -> list[list[Piece]]:
    """The rows with anything in them, those first in which something runs for the longest time."""
    return sorted(
        filter(None, rows), key=lambda pieces: -sum(last - first for first, last, _ in pieces)
    )


def _draw_marks(axes: "Axes", row: Row, names: list[str], start: float, end: float) -> None:
    """Bars with the name in them if there is room for it."""
    for first, last, name in _within(row[1], start, end):
        left, length = (first - start) / 1e3, (last - first) / 1e3
        number = names.index(name)
        bar = axes.broken_barh([(left, length)], (0.08, 0.84), **_look(number))
        bar.set_linewidth(0.4)
        if length / ((end - start) / 1e3) > 0.009 * (len(name) + 2):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
            style = {"ha": "center", "va": "center", "fontsize": 7.5, "parse_math": False}
            axes.text(left + length / 2, 0.5, name, bbox=box, clip_on=True, **style)
    axes.set_yticks([0.5], [row[0]])


def _draw_group(every: Sequence["Axes"], rows: list[Row], start: float, end: float) -> None:
    """Rows that share a legend, each as layers: the share of a bin in which each name ran."""
    import numpy as np

    times = Counter[str]()
    for _, pieces in rows:
        for first, last, name in pieces:
            times[name] += last - first
    moved = [name for name in (COPIES, FILLS) if times.pop(name, 0)]
    names = [name for name, _ in times.most_common(NAMED)] + moved
    edges = np.repeat(np.linspace(0, (end - start) / 1e3, BINS + 1), 2)[1:-1]
    for axes, (title, pieces) in zip(every, rows, strict=True):
        own: dict[str, list[Interval]] = {name: [] for name in [*names, OTHER]}
        for first, last, name in pieces:
            own[name if name in own else OTHER].append((first, last))
        floor = np.zeros(2 * BINS)
        for number, (name, intervals) in enumerate(own.items()):
            top = floor + np.repeat(shares(intervals, start, end, BINS), 2)
            axes.fill_between(edges, floor, top, linewidth=0, **_look(number, name))
            floor = top
        axes.set_yticks([0.5], [title])
    _legend(every[0], [*names, OTHER])


def _legend(axes: "Axes", names: Sequence[str]) -> None:
    """The names above the axes, from left to right."""
    from matplotlib.patches import Patch

    handles = [Patch(linewidth=0.3, **_look(number, name)) for number, name in enumerate(names)]
    style = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "fontsize": 7.5}
    legend = axes.legend(handles, names, ncols=4, borderaxespad=0.1, **style)
    for label in legend.get_texts():
        label.set_parse_math(False)  # a dollar sign in a kernel's name begins no formula


def _look(number: int, name: str = "") -> dict[str, str]:
    if name == OTHER:
        return {"facecolor": "#dddddd", "edgecolor": "black"}
    colour, hatch = (each[number % len(each)] for each in (COLOURS, _HATCHES))
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "black"}


def shares(intervals: Sequence[Interval], start: float, end: float, bins: int) -> "np.ndarray":
    """The share of each of the bins (bins,) between start and end that lies in the intervals."""
    import numpy as np

    # What is covered up to a time is a curve of straight pieces through the intervals' ends.
    ends = np.array(clipped(union(intervals), start, end), dtype=np.float64).reshape(-1, 2)
    covered = np.concatenate([[0.0], np.cumsum(ends[:, 1] - ends[:, 0])])
    times = np.concatenate([[start], ends.ravel(), [end]])
    until = np.concatenate([[0.0], np.repeat(covered, 2)[1:-1], [covered[-1]]])
    edges = np.linspace(start, end, bins + 1)
    return np.diff(np.interp(edges, times, until)) / ((end - start) / bins)
