"""Curves in one plot, with the looks that all notebooks share."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab_utils.figures import COLOURS, LINE_STYLES, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(axes: "Axes", curves: Mapping[str, Mapping[float, float]]) -> None:
    """Draws y by x of each curve, with a grid and a legend of the names.

    Curves differ in line style and marker first, and can be told apart without colour.
    """
    for number, (name, curve) in enumerate(curves.items()):
        axes.plot(
            list(curve),
            list(curve.values()),
            label=name,
            color=COLOURS[number],
            linestyle=LINE_STYLES[number % len(LINE_STYLES)],
            marker=MARKERS[number],
            markersize=5,
        )
    axes.grid(alpha=0.3)
    axes.legend()
