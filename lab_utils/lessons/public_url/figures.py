"""The pictures of notebook 07: who reaches an address, a tunnel's way, and who can read along.

Encrypted stretches are double lines and open ones dotted, so that the pictures need no colour.
"""

from typing import TYPE_CHECKING

from lab_utils.lessons.canvas import arrow, box, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SHADE = "black", "#eeeeee"


def reach() -> "Figure":
    """This machine within its network within the internet, and the addresses that lead there."""
    figure, axes = canvas(8.6, 2.9)
    box(axes, "", 4.3, 1.45, 8.4, 2.7)
    axes.text(0.3, 2.55, "the internet", fontsize=10, style="italic")
    box(axes, "", 5.5, 1.35, 5.6, 2.1, dashed=True)
    axes.text(2.9, 2.12, "the network at home, at work, in the café", fontsize=10, style="italic")
    box(axes, "", 6.75, 1.15, 2.8, 1.4, ground=SHADE)
    axes.text(5.5, 1.6, "this machine", fontsize=10, style="italic")
    box(axes, "a server", 7.5, 1.0, 1.0, 0.5)
    box(axes, "a program", 5.95, 1.0, 0.95, 0.5)
    box(axes, "a neighbour", 3.5, 1.0, 1.05, 0.5)
    box(axes, "a phone\nelsewhere", 1.15, 1.0, 1.2, 0.6)
    arrow(axes, (6.43, 1.0), (6.98, 1.0))
    axes.text(6.7, 0.62, "127.0.0.1", ha="center", fontsize=9)
    arrow(axes, (4.03, 1.1), (5.32, 1.1))
    axes.text(4.68, 1.18, "192.168.1.20", ha="center", fontsize=9)
    arrow(axes, (1.76, 1.1), (2.66, 1.1))
    axes.plot([2.62, 2.78], [1.0, 1.2], color=INK, linewidth=2)
    axes.plot([2.62, 2.78], [1.2, 1.0], color=INK, linewidth=2)
    axes.text(1.4, 0.22, "no public address\nleads to this machine", ha="center", fontsize=9)
    return figure


def way_of_a_visitor() -> "Figure":
    """From a phone through a tunnel to the app, and what each part does."""
    figure, axes = canvas(9.4, 2.6)
    box(axes, "", 6.75, 1.3, 5.0, 2.3, ground=SHADE, dashed=True)
    axes.text(4.4, 2.2, "this machine: no port is open to the outside", fontsize=9, style="italic")
    box(axes, "a phone", 0.7, 1.3, 1.0, 0.7)
    box(axes, "the tunnel's\nserver\n\nhas the address,\nends TLS", 2.85, 1.3, 1.45, 1.5)
    box(axes, "the agent\n\ncalls out,\nkeeps the line", 5.15, 1.25, 1.35, 1.3)
    box(axes, "the gate\n\nname and\npassword", 6.95, 1.25, 1.15, 1.3)
    box(axes, "the app\n\n127.0.0.1", 8.5, 1.25, 1.1, 1.3)
    arrow(axes, (1.2, 1.3), (2.12, 1.3))
    axes.text(1.66, 1.42, "HTTPS", ha="center", fontsize=9)
    arrow(axes, (4.47, 0.95), (3.58, 0.95))
    axes.text(3.93, 0.62, "opens", ha="center", fontsize=9)
    arrow(axes, (3.58, 1.6), (4.47, 1.6), dashed=True)
    axes.text(3.91, 1.72, "requests", ha="center", fontsize=9)
    for here, there in ((5.83, 6.37), (7.53, 7.95)):
        arrow(axes, (here, 1.25), (there, 1.25))
    return figure


WAYS = [
    ("http, no tunnel", "the network's\nrouters", False, False),
    ("ngrok", "ngrok's\nserver", True, True),
    ("Gradio's share link", "Gradio's\nserver", True, True),
    ("ssh, no proxy", "your host", False, True),
    ("ssh, HTTPS proxy", "your host", True, True),
]
"""Way, who is in the middle, and whether each of the two stretches is encrypted."""


def who_reads_along() -> "Figure":
    """Each way's two stretches, encrypted or open, and who is in the middle and reads."""
    figure, axes = canvas(8.6, 3.9)
    for x, name in ((2.6, "visitor"), (5.1, "in the middle"), (7.7, "this machine")):
        axes.text(x, 3.7, name, ha="center", va="center", fontsize=10, style="italic")
    for row, (way, middle, first, second) in enumerate(WAYS):
        y = 3.2 - 0.66 * row
        axes.text(0.05, y, way, va="center", fontsize=10)
        _line(axes, 2.8, 4.5, y, first)
        _line(axes, 5.7, 7.4, y, second)
        box(axes, "", 2.6, y, 0.36, 0.36)
        box(axes, middle, 5.1, y, 1.2, 0.5, ground=SHADE)
        box(axes, "", 7.7, y, 0.56, 0.36)
    return figure


STATIONS = [
    ("the network", "no answer"),
    ("the tunnel's\nserver", "no answer"),
    ("the agent", "an answer\nwithout the mark"),
    ("the gate", "an answer\nwithout the mark"),
    ("the app", "502\nwith the mark"),
]
"""What a request passes, and what comes back where that is missing."""


def where_it_breaks() -> "Figure":
    """The stations of a request in a row, and below each what is seen if it is missing."""
    figure, axes = canvas(9.0, 1.95)
    axes.text(0.02, 1.5, "passes", va="center", fontsize=10, style="italic")
    axes.text(0.02, 0.45, "missing?", va="center", fontsize=10, style="italic")
    for place, (station, seen) in enumerate(STATIONS):
        x = 1.6 + 1.65 * place
        box(axes, station, x, 1.5, 1.2, 0.62)
        box(axes, seen, x, 0.45, 1.38, 0.62, ground=SHADE, dashed=True)
        axes.plot([x, x], [0.78, 1.17], color=INK, linewidth=1, linestyle=":")
        if place:
            arrow(axes, (x - 1.03, 1.5), (x - 0.62, 1.5))
    return figure


def _line(axes: "Axes", left: float, right: float, y: float, encrypted: bool) -> None:
    if encrypted:
        for offset in (-0.035, 0.035):
            axes.plot([left, right], [y + offset] * 2, color=INK, linewidth=1.4)
    else:
        axes.plot([left, right], [y, y], color=INK, linewidth=2, linestyle=":")
    word = "encrypted" if encrypted else "open"
    axes.text((left + right) / 2, y + 0.1, word, ha="center", fontsize=9)
