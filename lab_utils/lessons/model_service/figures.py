"""The pictures of notebook 06: two places, starts, retries, latencies, and what a month costs.

Figures are made without pyplot's global state.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, HATCHES, MARKERS
from lab_utils.lessons.canvas import arrow, box, canvas
from lab_utils.lessons.curves import draw_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

START_SECONDS = {
    "Python, torch": 0.63,
    "model files": 0.23,
    "1st page": 0.27,
    "2nd page": 0.04,
    "3rd page": 0.04,
}
"""s of one core (CPU time, one thread) from the start of a process of `lambda_entry` on, for the
page show_font_002.jpg again and again; least of three starts."""

CPU_BATCH_SECONDS = {1: 0.21, 2: 0.42, 4: 0.85, 8: 1.71}
"""s of one core (CPU time, one thread) for batches of that many of the sixteen pages to show, mean
over all sixteen; least of three rounds."""


def two_places() -> "Figure":
    """Browsers, the front end, and copies of the model service, joined by what is sent."""
    figure, axes = canvas(7.5, 2.6)
    for y in (2.05, 0.55):
        box(axes, "browser, phone,\nprogram", 0.75, y, 1.3, 0.6)
    box(axes, "front end\n\nsmall, always on,\nno model", 3.35, 1.3, 1.7, 1.1, ground="#f2f2f2")
    for number, y in enumerate((2.1, 1.3, 0.5), start=1):
        box(axes, f"model service\ncopy {number}", 6.55, y, 1.7, 0.6, dashed=number > 1)
        arrow(axes, (4.2, 1.3), (5.7, y), both_ways=True)
    for start, end in (((1.4, 2.05), (2.5, 1.5)), ((1.4, 0.55), (2.5, 1.1))):
        arrow(axes, start, end, both_ways=True)
    axes.text(1.95, 2.05, "picture", ha="center", fontsize=8)
    axes.text(4.75, 2.05, "POST, JSON", ha="center", fontsize=8)
    return figure


def starts(seconds: Mapping[str, float] = START_SECONDS) -> "Figure":
    """Bars of what three requests in a row wait for: the first waits for the process, too."""
    from matplotlib.figure import Figure

    *start, first, second, third = seconds
    requests = {"1st request": [*start, first], "2nd request": [second], "3rd request": [third]}
    looks = {name: number for number, name in enumerate([*start, "reading"])}
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.add_subplot()
    labelled = set()
    for request, parts in requests.items():
        left = 0.0
        for part in parts:
            name = part if part in looks else "reading"
            number = looks[name]
            axes.barh(
                request,
                seconds[part],
                left=left,
                height=0.6,
                color=COLOURS[number],
                hatch=HATCHES[number],
                edgecolor="white",
                label=None if name in labelled else name,
            )
            labelled.add(name)
            left += seconds[part]
        axes.text(left, request, f" {left:.2f}", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def retry_storm(times: Mapping[str, Sequence[float]], last: float, width: float = 0.05) -> "Figure":
    """How many requests come in each piece of time, `width` s long; a panel for each series."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.5 * len(times) + 0.5), layout="constrained")
    panels = figure.subplots(len(times), sharex=True, sharey=True, squeeze=False)[:, 0]
    pieces = range(round(last / width))
    for number, (axes, (name, moments)) in enumerate(zip(panels, times.items(), strict=True)):
        # A moment on the edge of two pieces must fall into one, whatever rounding makes of it.
        counts = Counter(math.floor(moment / width + 1e-6) for moment in moments)
        axes.bar(
            [piece * width for piece in pieces],
            [counts[piece] for piece in pieces],
            width=width,
            align="edge",
            color=COLOURS[number],
        )
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylabel("requests")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlim(0, last)
    panels[-1].set_xlabel("seconds since all were refused")
    return figure


def latencies(samples: Mapping[str, Sequence[tuple[float, float, float | None]]]) -> "Figure":
    """The latency of each request at the moment when it should have been sent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, requests) in enumerate(samples.items()):
        answered = [(scheduled, done - scheduled) for scheduled, _, done in requests if done]
        axes.plot(
            *zip(*answered, strict=True),
            linestyle="none",
            marker=MARKERS[number],
            markersize=4,
            markerfacecolor="none" if number else COLOURS[number],
            color=COLOURS[number],
            label=name,
        )
    axes.set(xlabel="scheduled second of the test", ylabel="latency (s)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def latency_by_rate(
    curves: Mapping[str, Mapping[float, float]],
    highest: float,
    target: float | None = None,
    quantity: str = "p95 latency (s)",
) -> "Figure":
    """Latency against the rate of requests; what lies above `highest` s is cut off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    draw_curves(axes, curves)
    if target is not None:
        axes.axhline(target, color="black", linewidth=1)
        axes.text(0, target, " target", va="bottom", fontsize=9)
    axes.set(xlabel="requests a second", ylabel=quantity, ylim=(0, highest))
    axes.set_xlim(left=0)
    return figure


def costs(months: Sequence[int], dollars: Mapping[str, Sequence[float]]) -> "Figure":
    """US dollars a month against pages a month, both on scales of powers of ten."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    by_months = {name: dict(zip(months, values, strict=True)) for name, values in dollars.items()}
    draw_curves(axes, by_months)
    axes.set(xscale="log", yscale="log", xlabel="pages a month", ylabel="US dollars a month")
    return figure
