"""Drawings of boxes and arrows in black on white, measured in inches: they need no colour."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def canvas(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure and axes whose unit is an inch, from the lower left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def box(
    axes: "Axes",
    text: str,
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    ground: str = "white",
    hatch: str = "",
    round_corners: bool = False,
    dashed: bool = False,
) -> None:
    """A box with its centre at x, y and its text in the middle."""
    from matplotlib.patches import FancyBboxPatch

    r = 0.12 if round_corners else 0.01
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2 + r, y - height / 2 + r),
            width - 2 * r,
            height - 2 * r,
            boxstyle=f"round,pad={r},rounding_size={r}",
            facecolor=ground,
            edgecolor="black",
            hatch=hatch,
            linestyle="--" if dashed else "-",
        )
    )
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 2} if hatch and text else None
    axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=behind)


def arrow(
    axes: "Axes",
    here: tuple[float, float],
    there: tuple[float, float],
    *,
    dashed: bool = False,
    both_ways: bool = False,
) -> None:
    """An arrow between two points."""
    heads = "<|-|>" if both_ways else "-|>"
    style = {"arrowstyle": heads, "color": "black", "shrinkA": 0, "shrinkB": 0}
    line = {"linestyle": "--" if dashed else "-"}
    axes.annotate("", xy=there, xytext=here, arrowprops=style | line)
