"""Line charts as SVG, drawn here: nothing is loaded from elsewhere, and no script is needed.

Lines differ by their dashes and their marks; colour only helps."""

import math
from collections.abc import Sequence
from typing import Any

from lab_tracker.streams import thinned
from lab_tracker.templating import number, render

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

Points = list[tuple[float, float]]


def chart(title: str, series: Sequence[tuple[str, Points]]) -> str:
    """A figure with at most `MAX_SERIES` named lines of points (step, value); a legend if there is
    more than one. If nothing can be drawn, it says so in the figure's place."""
    finite = [
        (name, [point for point in points if all(map(math.isfinite, point))])
        for name, points in series[:MAX_SERIES]
    ]
    drawn = [(name, points) for name, points in finite if points]
    if not drawn:
        return render("chart.html", title=title, series=[], legend=False)
    x_axis = _Axis([x for _, points in drawn for x, _ in points], _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis([y for _, points in drawn for _, y in points], HEIGHT - _BOTTOM, _TOP)
    return render(
        "chart.html",
        title=title,
        legend=len(drawn) > 1,
        label=_in_words(title, drawn),
        size=(WIDTH, HEIGHT),
        ends=(_LEFT, WIDTH - _RIGHT, HEIGHT - 6),
        x_ticks=[(round(x_axis.place(tick), 1), number(tick)) for tick in x_axis.ticks()],
        y_ticks=[(round(y_axis.place(tick), 1), number(tick)) for tick in y_axis.ticks()],
        series=[
            _line(i, name, [(x_axis.place(x), y_axis.place(y)) for x, y in points])
            for i, (name, points) in enumerate(drawn)
        ],
    )


class _Axis:
    """The way from values to px, from `start` to `stop`."""

    def __init__(self, values: list[float], start: float, stop: float) -> None:
        self._low, self._high = min(values), max(values)
        if self._span() < 1e-12 * max(abs(self._low), abs(self._high), 1e-300):
            pad = abs(self._low) * 0.5 or 1.0
            self._low, self._high = self._low - pad, self._high + pad
        self._start, self._stop = start, stop

    def _span(self) -> float:
        """Half the length: no difference of floats that are halved first overflows."""
        return self._high / 2 - self._low / 2

    def place(self, value: float) -> float:
        share = (value / 2 - self._low / 2) / self._span()
        return self._start + share * (self._stop - self._start)

    def ticks(self) -> list[float]:
        """About four, at 1, 2 or 5 times a power of ten (Heckbert 1990)."""
        raw = self._span() / 2
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
        first, last = math.ceil(self._low / step - 1e-9), math.floor(self._high / step + 1e-9)
        return [round(i * step, 12) if step > 1e-9 else i * step for i in range(first, last + 1)]


def _line(index: int, name: str, points: Points) -> dict[str, Any]:
    """What the template draws of a line, whose points are in px."""
    return {
        "name": name,
        "index": index,
        "path": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in thinned(points, _POINTS)),
        "dashes": _DASHES[index],
        "mark": _MARKS[index],
        "marks": [f"{x:.1f} {y:.1f}" for x, y in thinned(points, 6)],
    }


def _in_words(title: str, series: Sequence[tuple[str, Points]]) -> str:
    parts = [
        f"{name}: from {number(points[0][1])} to {number(points[-1][1])}, "
        f"lowest {number(min(y for _, y in points))}"
        for name, points in series
    ]
    return f"{title} over the step. {'; '.join(parts)}."
