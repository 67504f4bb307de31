"""Line charts as SVG, drawn here: nothing is loaded from elsewhere, and no script is needed.

Series differ by their dashes and their marks; colour only helps."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from lab_tracker.formats import number
from lab_tracker.streams import thinned
from lab_tracker.templating import render

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 10, 26
_DASHES = ("", "6 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
_MARKS = (
    "M-3 0A3 3 0 1 0 3 0A3 3 0 1 0 -3 0Z",  # circle, square, triangle, diamond, cross, plus
    "M-3 -3H3V3H-3Z",
    "M0 -4L4 3H-4Z",
    "M0 -4L4 0L0 4L-4 0Z",
    "M-3 -3L3 3M-3 3L3 -3",
    "M-4 0H4M0 -4V4",
)
MAX_SERIES = len(_DASHES)
_POINTS = 400

_log = logging.getLogger(__name__)

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """A named line of points (step, value)."""

    name: str
    points: Points


def chart(title: str, series: list[Series]) -> str:
    """A figure with at most `MAX_SERIES` series; a legend if there is more than one.

    A chart that can't be drawn says so in its place: the rest of the page is not affected.
    """
    try:
        return _chart(title, series)
    except (ValueError, ArithmeticError):
        _log.exception("the chart of %r failed", title)
        return render("chart.html", title=title, series=[], legend=False)


def _chart(title: str, series: list[Series]) -> str:
    finite = [
        Series(s.name, [(x, y) for x, y in s.points if math.isfinite(x) and math.isfinite(y)])
        for s in series[:MAX_SERIES]
    ]
    drawn = [s for s in finite if s.points]
    if not drawn:
        return render("chart.html", title=title, series=[], legend=False)
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    x_axis, y_axis = _axis(min(xs), max(xs), 4), _axis(min(ys), max(ys), 4)

    def place_x(x: float) -> float:
        return _LEFT + _share(x, x_axis) * (WIDTH - _LEFT - _RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - _BOTTOM - _share(y, y_axis) * (HEIGHT - _TOP - _BOTTOM)

    return render(
        "chart.html",
        title=title,
        legend=len(drawn) > 1,
        label=_in_words(title, drawn),
        size=(WIDTH, HEIGHT),
        ends=(_LEFT, WIDTH - _RIGHT, HEIGHT - 6),
        x_ticks=[(round(place_x(tick), 1), number(tick)) for tick in x_axis[2]],
        y_ticks=[(round(place_y(tick), 1), number(tick)) for tick in y_axis[2]],
        series=[
            _line(i, s.name, [(place_x(x), place_y(y)) for x, y in s.points])
            for i, s in enumerate(drawn)
        ],
    )


def _line(index: int, name: str, points: Points) -> dict[str, Any]:
    """What the template draws of a series, whose points are in px."""
    return {
        "name": name,
        "index": index,
        "path": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in thinned(points, _POINTS)),
        "dashes": _DASHES[index],
        "mark": _MARKS[index],
        "marks": [f"{x:.1f} {y:.1f}" for x, y in thinned(points, 6)],
    }


def _in_words(title: str, series: list[Series]) -> str:
    parts = [
        f"{s.name}: from {number(s.points[0][1])} to {number(s.points[-1][1])}, "
        f"lowest {number(min(y for _, y in s.points))}"
        for s in series
    ]
    return f"{title} over the step. {'; '.join(parts)}."


def _share(value: float, axis: tuple[float, float, list[float]]) -> float:
    """How far along an axis a value is, from 0 to 1; halved first, so that no difference of floats
    overflows."""
    low, high, _ = axis
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _axis(low: float, high: float, count: int) -> tuple[float, float, list[float]]:
    """The ends of an axis and its ticks, at 1, 2 or 5 times a power of ten (Heckbert 1990)."""
    if high / 2 - low / 2 < 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = abs(low) * 0.5 or 1.0
        low, high = low - pad, high + pad
    raw = (high / 2 - low / 2) / count * 2
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(i * step, 12) if step > 1e-9 else i * step for i in range(first, last + 1)]
    return low, high, ticks
