"""Line charts as SVG, drawn here: nothing is loaded from elsewhere, and no script is needed."""

import math
from collections.abc import Sequence

from lab_tracker.streams import thinned
from lab_tracker.templating import number, render

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 10, 26
_POINTS = 400


def chart(title: str, points: Sequence[tuple[float, float]]) -> str:
    """A figure with a line of points (step, value). If nothing can be drawn, it says so in the
    figure's place."""
    drawn = [point for point in points if all(map(math.isfinite, point))]
    if not drawn:
        return render("chart.html", title=title, line="")
    x_axis = _Axis([x for x, _ in drawn], _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis([y for _, y in drawn], HEIGHT - _BOTTOM, _TOP)
    values = [y for _, y in drawn]
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in drawn]
    return render(
        "chart.html",
        title=title,
        label=f"{title} over the step: from {number(values[0])} to {number(values[-1])}, "
        f"lowest {number(min(values))}",
        size=(WIDTH, HEIGHT),
        ends=(_LEFT, WIDTH - _RIGHT, HEIGHT - 6),
        x_ticks=[(round(x_axis.place(tick), 1), number(tick)) for tick in x_axis.ticks()],
        y_ticks=[(round(y_axis.place(tick), 1), number(tick)) for tick in y_axis.ticks()],
        line="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in thinned(places, _POINTS)),
        marks=[f"{x:.1f} {y:.1f}" for x, y in thinned(places, 6)],
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
