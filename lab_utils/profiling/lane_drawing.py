"""How the timeline draws a lane: bars for what is long, shared bars for what is too short.

Thousands of events fall on few pixels: what is too short to be seen is put into bins, and a bin's
bar shows what took most of its time, and as its height how much of the time anything ran.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, HATCHES
from lab_utils.profiling.gpu_figures import Interval, clipped, union

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

BINS = 320
"""Bins of the time axis for what is too short to be drawn alone."""

SEEN = 2.5
"""Bins that something must last to get a bar of its own."""

LEVELS = 8
"""Heights that the bars of bins can have."""

OTHER = "other"

EVERY_HATCH = (*HATCHES, "+++", "***", "|||", "---", "OO")

Piece = tuple[float, float, str]
"""Start and end in µs, and the name of what runs."""

Bar = tuple[float, float, int, float]
"""Start and end in µs, row, and height in (0, 1]."""


@dataclass(frozen=True)
class Look:
    """How the bars of one name are drawn; `hatch` tells it apart without a colour."""

    colour: str
    hatch: str


class Lanes:
    """Rows of bars that share a legend.

    Args:
        rows: (title, pieces) from top to bottom; the pieces of a row don't overlap.
        names: those that get a look of their own; the others are drawn as OTHER.
    """

    def __init__(self, rows: Sequence[tuple[str, Sequence[Piece]]], names: Sequence[str]) -> None:
        self.titles = [title for title, _ in rows]
        known = set(names)
        self.rows = [
            [(start, end, name if name in known else OTHER) for start, end, name in pieces]
            for _, pieces in rows
        ]
        self.looks = {
            name: Look(COLOURS[number % len(COLOURS)], EVERY_HATCH[number % len(EVERY_HATCH)])
            for number, name in enumerate(names)
        }
        if any(name == OTHER for pieces in self.rows for _, _, name in pieces):
            self.looks[OTHER] = Look("#dddddd", "")

    def legend_columns(self, width: float) -> int:
        """How many names stand side by side on `width` inches."""
        inches = sum(0.062 * len(name) + 0.65 for name in self.looks)
        fitting = int(0.95 * width * len(self.looks) / inches) if inches else 1
        return max(1, min(len(self.looks), fitting))

    def legend_rows(self, width: float) -> int:
        return math.ceil(len(self.looks) / self.legend_columns(width))


def draw(axes: "Axes", lanes: Lanes, start: float, end: float, width: float) -> None:
    """Draws what runs between start and end (µs), in ms since the start, on `width` inches."""
    shortest = SEEN * (end - start) / BINS
    bars: dict[str, list[Bar]] = defaultdict(list)
    outlined: dict[str, list[Bar]] = defaultdict(list)
    for row, pieces in enumerate(lanes.rows):
        for first, last, name, height in _joined(pieces, start, end, shortest):
            bars[name].append((first, last, row, height))
        for first, last, name in pieces:
            first, last = max(first, start), min(last, end)
            if last - first < shortest:
                continue
            outlined[name].append((first, last, row, 1.0))
            # A character of this size is about 0.075 inches wide.
            if (last - first) / (end - start) * 0.85 * width > 0.075 * (len(name) + 2):
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
                style = {"ha": "center", "va": "center", "fontsize": 7.5, "parse_math": False}
                middle = ((first + last) / 2 - start) / 1e3
                axes.text(middle, row, name, bbox=box, clip_on=True, **style)
    for name, look in lanes.looks.items():
        _add(axes, bars[name], start, look, outline=0.0)
        _add(axes, outlined[name], start, look, outline=0.4)
    axes.set_yticks(range(len(lanes.rows)), lanes.titles, fontsize=8)
    axes.set_ylim(len(lanes.rows) - 0.5, -0.5)
    axes.tick_params(left=False)
    _legend(axes, lanes, width)


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


def _joined(
    pieces: Sequence[Piece], start: float, end: float, shortest: float
) -> list[tuple[float, float, str, float]]:
    """The pieces shorter than `shortest` µs as at most BINS bars with their heights in (0, 1]."""
    import numpy as np

    short: dict[str, list[Interval]] = defaultdict(list)
    for first, last, name in pieces:
        if min(last, end) - max(first, start) < shortest:
            short[name].append((first, last))
    if not short:
        return []
    names = list(short)
    covered = np.stack([shares(short[name], start, end, BINS) for name in names])
    winners = covered.argmax(0)
    levels = np.ceil(np.clip(covered.sum(0), 0, 1) * LEVELS - 1e-6).astype(int)
    # Neighbours that look the same are one bar.
    kinds = np.where(levels > 0, winners * (LEVELS + 1) + levels, -1)
    edges = np.flatnonzero(np.diff(kinds, prepend=-2, append=-2))
    times = start + edges * (end - start) / BINS
    return [
        (left, right, names[winners[first]], levels[first] / LEVELS)
        for first, (left, right) in zip(edges[:-1], itertools.pairwise(times), strict=True)
        if levels[first] > 0
    ]


def _add(axes: "Axes", bars: Sequence[Bar], start: float, look: Look, outline: float) -> None:
    """Bars of one look, as one collection: thousands of single ones would take seconds."""
    from matplotlib.collections import PolyCollection

    corners = []
    for first, last, row, height in bars:
        left, right = (first - start) / 1e3, (last - start) / 1e3
        floor, top = row + 0.42, row + 0.42 - 0.84 * height  # the y axis points down
        corners.append([(left, floor), (left, top), (right, top), (right, floor)])
    if corners:
        style = {"facecolor": look.colour, "hatch": look.hatch, "edgecolor": "black", "alpha": 0.75}
        axes.add_collection(PolyCollection(corners, linewidth=outline, **style), autolim=False)


def _legend(axes: "Axes", lanes: Lanes, width: float) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=look.colour, hatch=look.hatch, edgecolor="black", linewidth=0.3, alpha=0.75)
        for look in lanes.looks.values()
    ]
    legend = axes.legend(
        handles,
        list(lanes.looks),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=lanes.legend_columns(width),
        fontsize=7.5,
        frameon=False,
        handlelength=2.6,
        handleheight=1.1,
        borderaxespad=0.1,
    )
    # A dollar sign in a kernel's name begins no formula.
    for label in legend.get_texts():
        label.set_parse_math(False)
