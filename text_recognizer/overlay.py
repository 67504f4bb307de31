"""Draws the lines that were found on a page, so that you can see where a reading went wrong.

Numbers and dashes carry the meaning, so the picture also works printed in gray.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

DOUBTFUL = 0.9
"""Confidence below which a line is dashed. On the sample pages it marks 15 of 209 lines, among them
11 of the 19 with a CER above 0.1."""

STROKE_COLOUR = (0, 90, 200)
DOUBTFUL_COLOUR = (200, 60, 0)
STROKE_ALPHA = 150  # of 255: the writing below stays readable
STROKE_SHARE = 350  # a stroke is this part of the page's longest side


class FoundLine(Protocol):
    """What the drawing asks of a line: `path` x, y in px, `confidence` in [0, 1]."""

    @property
    def path(self) -> Sequence[Sequence[float]]: ...

    @property
    def confidence(self) -> float: ...


def draw_lines(image: Image.Image, lines: Iterable[FoundLine], scale: float = 1.0) -> Image.Image:
    """The page as RGB with each line's path and its number from 1 on, in the order of `lines`.

    Paths of lines with a confidence below DOUBTFUL are dashed and their numbers carry a "?".

    Args:
        image: The page, upright.
        lines: What was found on it.
        scale: px of `image` for one px of the paths, where the picture is a smaller copy.
    """
    page = image.convert("RGBA")
    stroke = max(2, round(max(page.size) / STROKE_SHARE))
    layer = Image.new("RGBA", page.size)
    canvas = ImageDraw.Draw(layer)
    font = ImageFont.load_default(max(12, 7 * stroke))
    labels = []
    for number, line in enumerate(lines, start=1):
        path = [(x * scale, y * scale) for x, y in line.path]
        if not path:
            continue
        doubtful = line.confidence < DOUBTFUL
        colour = (*(DOUBTFUL_COLOUR if doubtful else STROKE_COLOUR), STROKE_ALPHA)
        pieces = dashes(path, 6 * stroke, 4 * stroke) if doubtful else [path]
        for piece in pieces:
            canvas.line(piece, fill=colour, width=stroke, joint="curve")
        labels.append((path[0], f"{number}?" if doubtful else str(number)))
    for start, label in labels:  # last, so that no path crosses a number
        _draw_number(canvas, page.size, start, label, font)
    return Image.alpha_composite(page, layer).convert("RGB")


def dashes(
    path: Sequence[tuple[float, float]], drawn: float, left_out: float
) -> list[list[tuple[float, float]]]:
    """The path in dashes of length `drawn` with gaps of `left_out` (px along the path)."""
    pieces: list[list[tuple[float, float]]] = [[]]
    way = 0.0
    for start, end in zip(path, path[1:], strict=False):
        steps = max(1, math.ceil(math.dist(start, end)))
        for step in range(steps):
            if way % (drawn + left_out) < drawn:
                share = step / steps
                x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
                pieces[-1].append((x, y))
            elif pieces[-1]:
                pieces.append([])
            way += math.dist(start, end) / steps
    return [piece for piece in pieces if len(piece) > 1]


def _draw_number(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    start: tuple[float, float],
    label: str,
    font: ImageFont.FreeTypeFont,
) -> None:
    """A number in a white box with a black edge, left of the path's start, kept on the page."""
    left, top, right, bottom = canvas.textbbox((0, 0), label, font=font)
    margin = font.size // 4
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = min(max(start[0] - width - margin, 0), max(size[0] - width - 1, 0))
    y = min(max(start[1] - height / 2, 0), max(size[1] - height - 1, 0))
    canvas.rectangle((x, y, x + width, y + height), fill="white", outline="black")
    canvas.text((x + margin - left, y + margin - top), label, fill="black", font=font)
