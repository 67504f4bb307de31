"""The pictures of notebook 06: starts, retries, latencies, and what a month costs.

Figures are made without pyplot's global state.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lab_utils.figures import COLOURS, MARKERS, draw_curves, panels, plot

START_SECONDS = {
    "1st request": {"Python, torch": 0.63, "model files": 0.23, "reading": 0.27},
    "2nd request": {"reading": 0.04},
    "3rd request": {"reading": 0.04},
}
"""s of one core (CPU time, one thread) from the start of a process of `lambda_entry`, which reads
the page show_font_002.jpg three times; the least of three starts."""

CPU_BATCH_SECONDS = {1: 0.21, 2: 0.42, 4: 0.85, 8: 1.71}
"""s of one core (CPU time, one thread) for batches of that many of the sixteen sample pages, mean
over all sixteen; the least of three rounds."""


def retry_storm(times: Mapping[str, Sequence[float]], last: float, width: float = 0.05) -> Figure:
    """How many requests come in each piece of time, `width` s long; a panel for each series."""
    size = (7, 1.5 * len(times) + 0.5)
    figure, every = panels(*size, rows=len(times), sharex=True, sharey=True)
    pieces = range(round(last / width))
    for number, (axes, (name, moments)) in enumerate(zip(every, times.items(), strict=True)):
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
    every[-1].set_xlim(0, last)
    every[-1].set_xlabel("seconds since all were refused")
    return figure


def latencies(samples: Mapping[str, Sequence[tuple[float, float, float | None]]]) -> Figure:
    """The latency of each request at the moment when it should have been sent."""
    figure, axes = plot(7, 3)
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
    curves: Mapping[str, Mapping[float, float]], highest: float, quantity: str = "p95 latency (s)"
) -> Figure:
    """Latency against the rate of requests; what lies above `highest` s is cut off."""
    figure, axes = plot(7, 3.2)
    draw_curves(axes, curves)
    axes.set(xlabel="requests a second", ylabel=quantity, ylim=(0, highest))
    axes.set_xlim(left=0)
    return figure


def costs(months: Sequence[int], dollars: Mapping[str, Sequence[float]]) -> Figure:
    """US dollars a month against pages a month, both on scales of powers of ten."""
    figure, axes = plot(7, 3.2)
    by_months = {name: dict(zip(months, values, strict=True)) for name, values in dollars.items()}
    draw_curves(axes, by_months)
    axes.set(xscale="log", yscale="log", xlabel="pages a month", ylabel="US dollars a month")
    return figure
