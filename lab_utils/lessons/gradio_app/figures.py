"""The pictures of notebook 05: the ways of a request, base64, and pages that may be blank.

Boxes and arrows are told by their words and their shape, so that the pictures need no colour.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lab_utils.lessons.canvas import arrow, box, canvas
from lab_utils.lessons.paragraph_text_recognizer.figures import faint, gallery, under_a_shadow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRAIN = 2.0  # gray levels: a phone's sensor in a lit room
INK = "black"


def way_of_a_page() -> "Figure":
    """From the sender of a page to the model, and what is in between."""
    figure, axes = canvas(9.2, 2.9)
    senders = [
        "a person with\na browser",
        "a program:\ncurl, requests",
        "Python with\ngradio_client",
    ]
    for row, sender in enumerate(senders):
        y = 2.3 - 0.95 * row
        box(axes, sender, 0.85, y, 1.5, 0.66, round_corners=True)
        arrow(axes, (1.62, y), (2.88, 1.35 + 0.25 * (1 - row)))
    axes.text(2.25, 2.5, "HTTP, JSON", ha="center", fontsize=9)
    box(axes, "Gradio\n\nthe page\nthe API\nuploads", 3.65, 1.35, 1.5, 2.1)
    arrow(axes, (4.42, 1.35), (4.98, 1.35))
    box(axes, "a gate:\nhow many read,\nhow many wait", 5.75, 1.35, 1.5, 1.0, hatch="///")
    arrow(axes, (6.52, 1.5), (7.28, 1.9))
    arrow(axes, (6.52, 1.2), (7.28, 0.8))
    box(axes, "the model in\nthis process", 8.15, 1.95, 1.7, 0.66, round_corners=True)
    box(
        axes,
        "a model service\n(notebook 06)",
        8.15,
        0.75,
        1.7,
        0.66,
        round_corners=True,
        dashed=True,
    )
    axes.text(8.15, 1.35, "a predictor: either", ha="center", va="center", fontsize=9)
    return figure


def base64_of(data: bytes) -> "Figure":
    """Three bytes, their 24 bits, and the four characters that these are in base64."""
    import base64

    figure, axes = canvas(7.4, 1.9)
    bits = "".join(f"{byte:08b}" for byte in data)
    cell, left = 0.26, 0.95
    for number, byte in enumerate(data):
        middle = left + (8 * number + 4) * cell
        name = f"{byte} ({chr(byte)})" if 32 < byte < 127 else str(byte)
        box(axes, name, middle, 1.6, 8 * cell - 0.06, 0.4)
    for place, bit in enumerate(bits):
        axes.text(
            left + (place + 0.5) * cell, 1.0, bit, ha="center", va="center", family="monospace"
        )
    for place in range(6, len(bits), 6):
        x = left + place * cell
        axes.plot([x, x], [0.75, 1.25], color=INK, linewidth=1, linestyle="--")
    for number, character in enumerate(base64.b64encode(data).decode()):
        value = int(bits[6 * number : 6 * number + 6], 2)
        middle = left + (6 * number + 3) * cell
        box(axes, f"{value} ({character})", middle, 0.4, 6 * cell - 0.06, 0.4, round_corners=True)
    for y, name in ((1.6, "bytes"), (1.0, "bits"), (0.4, "base64")):
        axes.text(0.05, y, name, va="center", fontsize=10)
    return figure


def one_step_or_two() -> "Figure":
    """The messages between a client and the app: at the left one step, at the right two."""
    figure, axes = canvas(9.2, 3.5)
    _messages(
        axes,
        0.9,
        "one step",
        [
            (2.5, "POST run/predict, the page", True),
            (1.2, "the text", False),
        ],
        reading=(2.45, 1.25),
    )
    _messages(
        axes,
        5.5,
        "two steps",
        [
            (2.5, "POST call/predict, the page", True),
            (2.15, "an event id", False),
            (1.8, "GET call/predict/ID", True),
            (1.5, "event: heartbeat", False),
            (0.55, "event: complete, the text", False),
        ],
        reading=(2.1, 0.6),
    )
    return figure


def _messages(
    axes: "Axes",
    left: float,
    title: str,
    messages: Sequence[tuple[float, str, bool]],
    reading: tuple[float, float],
) -> None:
    """Messages (height, text, from the client?) between two lines of life, and when is read."""
    right = left + 2.8
    axes.text((left + right) / 2, 3.35, title, ha="center", va="center", fontsize=11)
    for x, name in ((left, "client"), (right, "app")):
        box(axes, name, x, 2.95, 0.9, 0.34)
        axes.plot([x, x], [0.25, 2.78], color=INK, linewidth=1, linestyle=":")
    top, bottom = reading
    box(axes, "", right, (top + bottom) / 2, 0.16, top - bottom, hatch="///")
    axes.text(right + 0.16, (top + bottom) / 2, "reads", va="center", fontsize=9)
    for y, text, asks in messages:
        here, there = (left, right - 0.09) if asks else (right - 0.09, left)
        arrow(axes, (here, y), (there, y), dashed=not asks)
        axes.text((left + right) / 2, y + 0.05, text, ha="center", va="bottom", fontsize=9)


def photos(page: Image.Image) -> dict[str, Image.Image]:
    """A page (dark ink on light paper) and its empty back, as a phone sees them."""
    generator = np.random.default_rng(4)
    back = Image.new("L", page.size, 235)

    def photo(levels: object) -> Image.Image:
        grain = GRAIN * generator.standard_normal((page.height, page.width))
        return Image.fromarray((np.asarray(levels) + grain).round().clip(0, 255).astype(np.uint8))

    return {
        "page": photo(page.convert("L")),
        "page, faint": photo(faint(page)),
        "page, shadow": photo(under_a_shadow(page)),
        "back": photo(back),
        "back, shadow": photo(under_a_shadow(back)),
    }


def judged(pages: dict[str, Image.Image], blank: Sequence[bool]) -> Image.Image:
    """The pages beside each other, each with its verdict above it."""
    words = [f"{name}: {'blank' if b else 'written'}" for name, b in zip(pages, blank, strict=True)]
    return gallery(list(pages.values()), words, columns=len(pages), height=190)
