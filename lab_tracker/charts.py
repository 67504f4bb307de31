"""Line charts as SVG, drawn here: nothing is loaded from elsewhere, and no script is needed."""

import math
from collections.abc import Sequence

from lab_tracker.streams import thinned
from lab_tracker.templating import number, render

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 24, 10, 26
_POINTS = 400


def chart(title: str, points: Sequence[tuple[float, float]]) -> str:
    """A figure with a line of points (step, value). If nothing can be drawn, it says so in the
    figure's place."""
    drawn = [point for point in points if all(map(math.isfinite, point))]
    if not drawn:
        return render("chart.html", title=title, line="")
    steps, values = zip(*drawn, strict=True)
    xs, x_ticks = _axis(steps, _LEFT, WIDTH - _RIGHT)
    ys, y_ticks = _axis(values, HEIGHT - _BOTTOM, _TOP)
    places = [f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True)]
    return render(
        "chart.html",
        title=title,
        label=f"{title} over the step: from {number(values[0])} to {number(values[-1])}, "
        f"lowest {number(min(values))}",
        size=(WIDTH, HEIGHT),
        ends=(_LEFT, WIDTH - _RIGHT, HEIGHT - 6),
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        line="M" + "L".join(thinned(places, _POINTS)),
        marks=thinned(places, 6),
    )


def _axis(
    values: Sequence[float], start: float, stop: float
) -> tuple[list[float], list[tuple[float, str]]]:
    """Where the values lie between `start` and `stop` (px), and ticks at the ends and the middle.

    Halves are subtracted, since the difference of two floats may overflow.
    """
    low, high = min(values) / 2, max(values) / 2
    span = high - low
    places = [start + (stop - start) * ((v / 2 - low) / span if span else 0.5) for v in values]
    middle = (start + stop) / 2, low + high
    ticks = [(start, 2 * low), middle, (stop, 2 * high)] if span else [middle]
    return places, [(place, number(value)) for place, value in ticks]
