"""A picture of one batch, drawn from its trace: the model's parts, the processor, the GPU.

It answers what a batch waits for: which part takes the time, and whether the GPU is kept busy.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab_utils.profiling.gpu_figures import Interval
from lab_utils.profiling.lane_drawing import Lanes, Piece, draw, shares
from lab_utils.profiling.trace import Trace, TraceError
from lab_utils.profiling.trace_events import Span, Work
from lab_utils.profiling.trace_operators import RESOLUTION, by_thread, innermost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UTILIZATION_BINS = 120
"""Bins of the utilization's curve: wide enough that a mean in them means something."""

NAMED = 5
"""Operators, and kernels, that get a look of their own; the others share one."""

MOST_ROWS = 8
"""Depths of marks, and streams, that are drawn at most."""

COPIES, FILLS = "copies", "fills"


def timeline(trace: Trace, step: int = -1, threads: int = 2, width: float = 10.0) -> "Figure":
    """Draws one step of a trace: marks above, then processor threads, GPU streams, utilization.

    A thread's row shows the operator that runs innermost. What is too short for a bar of its own
    shares one: it looks like what ran most, and is as high as the share of its time in which
    anything ran. A trace without a GPU gets no rows for one. The axis starts with the step and ends
    when the processor is done with it, and the GPU with the work that was launched in it.

    Args:
        step: position of the step in `trace.steps`; -1 for the last.
        threads: threads of the processor to draw at most, the busiest ones.
        width: of the figure in inches.

    Raises:
        TraceError: nothing happened in the step.
    """
    from matplotlib.figure import Figure

    start, end = _extent(trace, step)
    gpu = _stream_lanes(trace, start, end)
    found = (_mark_lanes(trace, start, end), _thread_lanes(trace, start, end, threads), gpu)
    groups = [lanes for lanes in found if lanes.rows]
    if not groups:
        raise TraceError(f"{trace.path} shows nothing within {trace.steps[step].name}.")
    heights = [0.42 * len(lanes.rows) for lanes in groups] + [0.7] * bool(gpu.rows)
    legends = 0.2 * sum(lanes.legend_rows(width) for lanes in groups)
    figure = Figure(figsize=(width, sum(heights) + legends + 0.5 * len(heights) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.02, hspace=0.02)
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)
    every: list[Axes] = list(grid[:, 0])
    for axes, lanes in zip(every, groups, strict=False):
        draw(axes, lanes, start, end, width)
    if gpu.rows:
        _draw_utilization(every[-1], trace, start, end)
    for axes in every[:-1]:
        axes.tick_params(bottom=False)
    every[-1].set_xlim(0, (end - start) / 1e3)
    every[-1].tick_params(axis="x", labelsize=8)
    note = "a low bar: nothing ran for the rest of its time"
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


def _extent(trace: Trace, step: int) -> Interval:
    own = trace.steps[step]
    if own.end <= own.start:
        raise TraceError(f"{own.name} of {trace.path} has no duration; draw another step.")
    calls = (call for call in trace.calls if own.start <= call.start < own.end)
    launched = {call.correlation for call in calls if call.correlation is not None}
    ends = (work.end for work in trace.work if work.correlation in launched)
    return own.start, max(own.end, max(ends, default=own.end))


def _mark_lanes(trace: Trace, start: float, end: float) -> Lanes:
    """The marks by depth: a mark within another one is drawn below it."""
    inside = [mark for mark in trace.marks if mark.end > start and mark.start < end]
    rows: list[tuple[str, list[Piece]]] = []
    for spans in by_thread(inside).values():
        around: list[Span] = []
        for mark in spans:
            while around and around[-1].end <= mark.start + RESOLUTION:
                around.pop()
            if len(around) == len(rows):
                rows.append(("" if rows else "parts", []))
            rows[len(around)][1].append((mark.start, mark.end, short_name(mark.name)))
            around.append(mark)
    rows = rows[:MOST_ROWS]
    return Lanes(rows, list(dict.fromkeys(name for _, own in rows for _, _, name in own))[:10])


def _thread_lanes(trace: Trace, start: float, end: float, count: int) -> Lanes:
    """What runs innermost on each of the busiest threads."""
    found: list[list[Piece]] = []
    for spans in by_thread(trace.operators).values():
        pieces = [
            (stretch.start, stretch.end, short_name(stretch.span.name))
            for stretch in innermost(spans)
            if stretch.end > start and stretch.start < end
        ]
        if pieces:
            found.append(pieces)
    chosen = _busiest(found, start, end)[:count]
    titles = [f"processor,\nthread {number}" for number in range(1, 1 + len(chosen))]
    rows = list(zip(titles if len(chosen) > 1 else ["processor"], chosen, strict=False))
    return Lanes(rows, _longest(chosen, start, end))


def _stream_lanes(trace: Trace, start: float, end: float) -> Lanes:
    streams: dict[tuple[int, str], list[Piece]] = defaultdict(list)
    for work in trace.work:
        if work.end > start and work.start < end:
            streams[work.device, work.stream].append((work.start, work.end, _work_name(work)))
    several = len({device for device, _ in streams}) > 1
    chosen = _busiest(streams.values(), start, end)[:MOST_ROWS]
    rows = [
        (f"GPU {device},\nstream {stream}" if several else f"GPU,\nstream {stream}", pieces)
        for (device, stream), pieces in sorted(streams.items())
        if any(pieces is one for one in chosen)
    ]
    return Lanes(rows, _longest(chosen, start, end))


def _work_name(work: Work) -> str:
    return {"copy": COPIES, "fill": FILLS}.get(work.kind) or short_name(work.name)


def _busiest(rows: Iterable[list[Piece]], start: float, end: float) -> list[list[Piece]]:
    """The rows, those first in which something runs for the longest time."""
    return sorted(rows, key=lambda pieces: -sum(_inside(piece, start, end) for piece in pieces))


def _longest(rows: Iterable[list[Piece]], start: float, end: float) -> list[str]:
    """The names that took most of the time, and copies and fills, where there are any."""
    times: dict[str, float] = defaultdict(float)
    for pieces in rows:
        for piece in pieces:
            times[piece[2]] += _inside(piece, start, end)
    moved = [name for name in (COPIES, FILLS) if times.pop(name, None) is not None]
    return sorted(times, key=lambda name: -times[name])[:NAMED] + moved


def _inside(piece: Piece, start: float, end: float) -> float:
    return min(piece[1], end) - max(piece[0], start)


def _draw_utilization(axes: "Axes", trace: Trace, start: float, end: float) -> None:
    import numpy as np

    running: dict[int, list[Interval]] = defaultdict(list)
    for kernel in trace.kernels:
        running[kernel.device].append((kernel.start, kernel.end))
    curves = [shares(own, start, end, UTILIZATION_BINS) for own in running.values()]
    percent = 100 * np.mean(curves, axis=0) if curves else np.zeros(UTILIZATION_BINS)
    edges = np.linspace(0, (end - start) / 1e3, UTILIZATION_BINS + 1)
    axes.stairs(percent, edges, fill=True, color="#bbbbbb")
    axes.stairs(percent, edges, color="black", linewidth=0.8)
    axes.set_ylim(0, 105)
    axes.set_yticks([0, 50, 100])
    axes.tick_params(axis="y", labelsize=7.5)
    axes.set_ylabel("kernels\nrun, %", fontsize=8, rotation=0, ha="right", va="center")
