"""Line charts as SVG, drawn here: nothing is loaded from elsewhere, and no script is needed.

A series is told by its dashes and its marks; colour only helps."""

import math
from dataclasses import dataclass

from lab_tracker.page.formats import number
from lab_tracker.page.html import Html, element
from lab_tracker.streams import thinned

WIDTH, HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 10, 26
_DASHES = ("", "6 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
_MARKS = ("circle", "square", "triangle", "diamond", "cross", "plus")
MAX_SERIES = len(_DASHES)
_POINTS = 400

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One line of a chart: points (step, value)."""

    name: str
    points: Points


def chart(title: str, series: list[Series]) -> Html:
    """A figure: the lines of at most `MAX_SERIES` series over the step, and a legend."""
    series = [Series(s.name, _finite(s.points)) for s in series[:MAX_SERIES]]
    series = [s for s in series if s.points]
    if not series:
        return element("figure", element("figcaption", title), element("p", "No finite values."))
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points]
    x_low, x_high, x_ticks = _axis(min(xs), max(xs), 4)
    y_low, y_high, y_ticks = _axis(min(ys), max(ys), 4)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return (
            _LEFT + across * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for tick in y_ticks:
        _, y = place(x_low, tick)
        parts.append(element("path", d=f"M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}", class_="grid"))
        parts.append(element("text", number(tick), x=_LEFT - 6, y=f"{y + 4:.1f}", class_="y"))
    for tick in x_ticks:
        x, _ = place(tick, y_low)
        parts.append(element("text", number(tick), x=f"{x:.1f}", y=HEIGHT - 8, class_="x"))
    for i, line in enumerate(series):
        parts.append(_line([place(*point) for point in line.points], i))
    svg = element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=_in_words(title, series),
        class_="chart",
    )
    legend = None
    if len(series) > 1:
        legend = element("ul", *(_legend_item(i, s) for i, s in enumerate(series)), class_="legend")
    return element("figure", element("figcaption", title), svg, legend)


def _line(points: Points, index: int) -> Html:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in thinned(points, _POINTS))
    dashes = _DASHES[index] or None
    line = element("path", d=path, stroke_dasharray=dashes, fill="none", class_="line")
    marks = [_mark(x, y, index) for x, y in thinned(points, 6)]
    return element("g", line, *marks, class_=f"series s{index}")


def _mark(x: float, y: float, index: int) -> Html:
    kind = _MARKS[index]
    if kind == "circle":
        return element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3)
    corners = {
        "square": "-3 -3H3V3H-3Z",
        "triangle": "0 -4L4 3H-4Z",
        "diamond": "0 -4L4 0L0 4L-4 0Z",
        "cross": "-3 -3L3 3M-3 3L3 -3",
        "plus": "-4 0H4M0 -4V4",
    }[kind]
    return element("path", d=f"M{corners}", transform=f"translate({x:.1f} {y:.1f})")


def _legend_item(index: int, series: Series) -> Html:
    line = element("path", d="M2 7H38", stroke_dasharray=_DASHES[index] or None, class_="line")
    sample = element("g", line, _mark(20, 7, index), class_=f"series s{index}")
    icon = element("svg", sample, viewBox="0 0 40 14", width=40, height=14, aria_hidden="true")
    return element("li", icon, " ", series.name)


def _in_words(title: str, series: list[Series]) -> str:
    told = [
        f"{s.name}: from {number(s.points[0][1])} to {number(s.points[-1][1])}, "
        f"lowest {number(min(y for _, y in s.points))}"
        for s in series
    ]
    return f"{title} over the step. {'; '.join(told)}."


def _finite(points: Points) -> Points:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _axis(low: float, high: float, count: int) -> tuple[float, float, list[float]]:
    """The ends of an axis and its ticks, at 1, 2 or 5 times a power of ten (Heckbert 1990)."""
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = abs(low) * 0.5 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(i * step, 12) if step > 1e-9 else i * step for i in range(first, last + 1)]
    return low, high, ticks
