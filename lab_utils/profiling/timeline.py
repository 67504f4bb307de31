"""A picture of one batch, drawn from its trace: the model's parts, the processor, the GPU.

It answers what a batch waits for: which part takes the time, and whether the GPU is kept busy.
Thousands of events fall on few pixels, so the time is cut into bins: the height of a row shows the
share of a bin in which anything ran, its layers what that was.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lab_utils.figures import COLOURS, HATCHES, panels
from lab_utils.profiling.trace import Span, Trace, TraceError
from lab_utils.profiling.trace_figures import RESOLUTION, busy, launching_operators

BINS = 200
"""Bins of the time axis."""
NAMED = 5
"""Operators, and kernels, that get their own look; the others share one."""
MOST_DEPTHS = 8
OTHER = "other"
_HATCHES = (*HATCHES, "+++", "***", "|||", "---")
"""What distinguishes names without colours."""


def timeline(trace: Trace) -> Figure:
    """Draws a trace: marks above, then the thread that launches the work, then the GPU if there is
    one. The thread's row shows the operator that runs innermost.

    Raises:
        TraceError: nothing happened in the step.
    """
    end = max([trace.steps[-1].end, *(work.end for work in trace.work)])
    marks = _mark_rows(trace.marks)
    layers = {"processor": launching_operators(trace), "GPU": trace.work}
    layers = {title: spans for title, spans in layers.items() if spans}
    count = len(marks) + len(layers)
    if not count:
        raise TraceError(f"{trace.path} shows nothing within {trace.steps[-1].name}.")
    figure, every = panels(10, 0.9 + 0.62 * count, rows=count, sharex=True)
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)
    names = list(dict.fromkeys(short_name(mark.name) for row in marks for mark in row))
    for axes, row in zip(every, marks, strict=False):
        for mark in row:
            bar = (mark.start / 1e3, (mark.end - mark.start) / 1e3)
            look = _look(names.index(short_name(mark.name)))
            axes.broken_barh([bar], (0.08, 0.84), linewidth=0.4, **look)
    if marks:
        _legend(every[0], "parts", names)
    for axes, (title, spans) in zip(every[len(marks) :], layers.items(), strict=True):
        _draw_layers(axes, title, spans, end)
    for axes in every:
        axes.set(ylim=(0, 1), yticks=[], xlim=(0, end / 1e3))
        axes.tick_params(bottom=axes is every[-1], labelsize=8)
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


def _mark_rows(marks: Iterable[Span]) -> list[list[Span]]:
    """The marks by depth: a mark within another one is drawn below it."""
    rows: list[list[Span]] = []
    around: list[float] = []
    for mark in marks:
        while around and around[-1] <= mark.start + RESOLUTION:
            around.pop()
        if len(around) == len(rows):
            rows.append([])
        rows[len(around)].append(mark)
        around.append(mark.end)
    return rows[:MOST_DEPTHS]


def _draw_layers(axes: Axes, title: str, spans: Sequence[Span], end: float) -> None:
    """The share of each bin in which each name ran, one above the other, with a legend."""
    times = Counter[str]()
    for span in spans:
        times[short_name(span.name)] += span.end - span.start
    own: dict[str, list[Span]] = {name: [] for name, _ in times.most_common(NAMED)}
    own[OTHER] = []
    for span in spans:
        own.get(short_name(span.name), own[OTHER]).append(span)
    looks = [_look(number, name) for number, name in enumerate(own)]
    axes.stackplot(
        np.repeat(np.linspace(0, end / 1e3, BINS + 1), 2)[1:-1],
        [np.repeat(shares(layer, end, BINS), 2) for layer in own.values()],
        colors=[look["facecolor"] for look in looks],
        hatch=[look["hatch"] for look in looks],
        edgecolor="black",
        linewidth=0,
    )
    _legend(axes, title, list(own))


def _legend(axes: Axes, title: str, names: Sequence[str]) -> None:
    """The row's title at its left, the names above it, from left to right."""
    axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
    handles = [Patch(linewidth=0.3, **_look(number, name)) for number, name in enumerate(names)]
    style = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "fontsize": 7.5}
    legend = axes.legend(handles, names, ncols=4, borderaxespad=0.1, **style)
    for label in legend.get_texts():
        label.set_parse_math(False)  # a dollar sign in a kernel's name begins no formula


def _look(number: int, name: str = "") -> dict[str, str]:
    if name == OTHER:
        return {"facecolor": "#dddddd", "hatch": "", "edgecolor": "black"}
    colour, hatch = (each[number % len(each)] for each in (COLOURS, _HATCHES))
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "black"}


def shares(spans: Iterable[Span], end: float, bins: int) -> np.ndarray:
    """The share of each of the bins (bins,) between 0 and end in which any of the spans ran."""
    # The time covered so far is a curve of straight pieces through the intervals' ends.
    ends = np.array(busy(spans, end), dtype=np.float64).reshape(-1, 2)
    covered = np.concatenate([[0.0], np.cumsum(ends[:, 1] - ends[:, 0])])
    times = np.concatenate([[0.0], ends.ravel(), [end]])
    until = np.repeat(covered, 2)
    return np.diff(np.interp(np.linspace(0, end, bins + 1), times, until)) / (end / bins)
