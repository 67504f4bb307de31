"""A lineage drawn as SVG: artifacts are rounded boxes, runs are hexagons, and arrows lead from left
to right.

`draw` needs only nodes and edges, so it draws the tracker's own graphs and those of programs that
use it. The picture is black on white; a page's style sheet may say otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from lab_tracker.templating import render

_TITLE, _LINE = 7.4, 6.1  # px of a letter, at 13 px and 11 px
_WIDEST, _NARROWEST = 236, 120  # px of a box


@dataclass(frozen=True)
class Node:
    """What a node shows: a title, and lines below it.

    `look` is "chosen" (a thick frame), "marked" (hatched), "missing" (dotted) or empty.
    """

    title: str
    lines: tuple[str, ...] = ()
    is_run: bool = False
    href: str | None = None
    look: str = ""


def draw(
    nodes: Mapping[Any, Node], edges: Sequence[tuple[Any, Any]], title: str, description: str = ""
) -> str:
    """The graph as SVG text, in columns.

    Args:
        nodes: by a key.
        edges: pairs of keys, from what was there first to what came of it.
        title: what a screen reader says first.
        description: the picture in words, where there are no links to read.
    """
    box = _box(nodes)
    return render(
        "lineage.svg",
        nodes=nodes,
        edges=edges,
        cells=_cells(nodes, edges),
        title=title,
        description=description,
        box=box,
        short=lambda text, letter: _shortened(text, int((box[0] - 16) / letter)),
        letters=(_TITLE, _LINE),
    )


def _cells(
    nodes: Mapping[Any, Node], edges: Sequence[tuple[Any, Any]]
) -> dict[Any, tuple[int, float]]:
    """The column and the row of each node: columns by the longest way from a source; in each, the
    order of the left neighbours. A short column lies in the middle, so rows may be halves."""
    before: dict[Any, list[Any]] = {key: [] for key in nodes}
    for start, end in edges:
        before[end].append(start)
    depths = _depths(before)
    columns = [[key for key in nodes if depths[key] == x] for x in range(max(depths.values()) + 1)]
    tallest = max(map(len, columns))
    cells: dict[Any, tuple[int, float]] = {}
    for x, column in enumerate(columns):
        above = {key: [cells[a][1] for a in before[key] if a in cells] or [0] for key in column}
        column.sort(key=lambda key: mean(above[key]))
        for i, key in enumerate(column):
            cells[key] = x, (tallest - len(column)) / 2 + i
    return cells


def _depths(before: Mapping[Any, Sequence[Any]]) -> dict[Any, int]:
    depths: dict[Any, int] = {}

    def measure(key: Any, way: tuple[Any, ...]) -> int:
        if key not in depths:
            # A run that uses what it logged makes a circle: the edge back is not followed.
            ways = [measure(a, (*way, key)) for a in before[key] if a not in (*way, key)]
            depths[key] = 1 + max(ways, default=-1)
        return depths[key]

    for key in before:
        measure(key, ())
    return depths


def _box(nodes: Mapping[Any, Node]) -> tuple[int, int]:
    """Width and height of every box, so that the longest text fits where it can."""
    widths = [len(node.title) * _TITLE for node in nodes.values()]
    widths += [len(line) * _LINE for node in nodes.values() for line in node.lines]
    lines = max(len(node.lines) for node in nodes.values())
    return min(max(int(max(widths)) + 28, _NARROWEST), _WIDEST), 30 + 16 * lines


def _shortened(text: str, count: int) -> str:
    """The text in at most `count` letters; its end stays, since a version is there."""
    return text if len(text) <= count else f"{text[: count - 9]}…{text[-8:]}"
