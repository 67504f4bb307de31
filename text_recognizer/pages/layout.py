"""Sets lines on a page: how far apart, how straight, where they begin. Only ink, no paper yet."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from text_recognizer.pages.ink import InkLine

PATH_POINTS = 17  # a path is straight between so many points across the page


@dataclass(frozen=True)
class PlacedLine:
    """A line on a page.

    text: what it says.
    path: (PATH_POINTS, 2) float32 x and y in px, the middle of its small letters, from the page's
        left edge to the right one, also where there is no writing.
    start, end: x (px) between which it is written.
    above, below: how far (px) the writing reaches from the path.
    """

    text: str
    path: np.ndarray
    start: float
    end: float
    above: float
    below: float


def set_lines(
    rng: np.random.Generator, lines: list[InkLine]
) -> tuple[np.ndarray, list[PlacedLine]]:
    """The page's ink (H, W) uint8, 0 = none, and where each line lies on it."""
    heights = [line.above + line.below for line in lines]
    typical = float(np.median(heights))
    widest = max(line.width for line in lines)
    left = typical * rng.uniform(0.1, 1.5)
    right = typical * rng.uniform(0.1, 1.5)
    free = rng.uniform(0.2, 1.5) * widest if rng.random() < 0.12 else 0.0  # a half empty page
    indent = rng.uniform(0, 0.3) * typical
    width = int(np.ceil(left + widest + right + free + indent))
    slope, waves = _tilt(rng, typical, width)

    pitch = typical * rng.choice(
        [rng.uniform(0.78, 1.05), rng.uniform(0.95, 1.5), rng.uniform(1.4, 2.4)]
    )
    drop = abs(slope) * width + typical * rng.uniform(0.1, 1.0)
    y = lines[0].above + typical * rng.uniform(0.05, 1.0) + max(-slope * width, 0) + waves[0] * 2
    placed_ink: list[tuple[np.ndarray, int, int]] = []
    placed = []
    xs = np.linspace(0, width, PATH_POINTS)
    for index, line in enumerate(lines):
        room = width - line.width - left - right
        x = left + _start(rng, room, indent)
        x = float(np.clip(x, 0, max(width - line.width, 0)))
        own_slope = slope + rng.normal(0, 0.003)
        ys = y + own_slope * xs + waves[0] * np.sin(waves[1] * xs + waves[2] + 0.15 * index)
        placed_ink.append(_bend(line, x, xs, ys))
        path = np.stack([xs, ys], axis=1).astype(np.float32)
        placed.append(PlacedLine(line.text, path, x, x + line.width, line.above, line.below))
        step = pitch * rng.normal(1, 0.04)
        if rng.random() < 0.05:
            step += pitch * rng.uniform(0.3, 1.2)  # a new paragraph
        if index + 1 < len(lines):
            # Two lines never come closer than what a reader could still tell apart.
            y += max(step, 0.74 * (line.below + lines[index + 1].above))
    height = int(np.ceil(y + lines[-1].below + drop))
    return _put_together(placed_ink, height, width), placed


def _tilt(
    rng: np.random.Generator, typical: float, width: int
) -> tuple[float, tuple[float, float, float]]:
    slope = float(rng.normal(0, 0.012))
    if rng.random() < 0.25:
        slope = float(rng.uniform(-0.1, 0.1))
    amplitude = typical * float(rng.choice([0.0, 0.03, 0.08, 0.16]))
    frequency = float(rng.uniform(0.5, 2.5)) * 2 * np.pi / max(width, 1)
    return slope, (amplitude, frequency, float(rng.uniform(0, 2 * np.pi)))


def _start(rng: np.random.Generator, room: float, indent: float) -> float:
    kind = rng.random()
    if kind < 0.86 or room <= 0:
        return rng.uniform(0, 1) * indent
    return room * (rng.uniform(0.1, 1.0) if kind < 0.95 else 1.0)  # indented, centred, flush right


def _bend(line: InkLine, x: float, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The line's ink sheared onto its path, and the (left, top) px where it belongs."""
    height, width = line.ink.shape
    edges = np.unique(np.linspace(0, width, max(width // 64, 1) + 1).astype(int))
    at = np.interp(x + edges, xs, ys)
    top = int(np.floor(at.min() - line.core))
    tall = int(np.ceil(at.max() - line.core + height)) - top + 1
    mesh = []
    for left, right, y_left, y_right in zip(edges, edges[1:], at, at[1:], strict=False):
        # Where the target's top row reads from in the source, at the two ends of the piece.
        a, b = top - (y_left - line.core), top - (y_right - line.core)
        quad = (left, a, left, a + tall, right, b + tall, right, b)
        mesh.append(((int(left), 0, int(right), tall), quad))
    bent = Image.fromarray(line.ink).transform(
        (width, tall), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR
    )
    return np.asarray(bent), int(round(x)), top


def _put_together(parts: list[tuple[np.ndarray, int, int]], height: int, width: int) -> np.ndarray:
    page = np.zeros((height, width), dtype=np.uint8)
    for ink, left, top in parts:
        first, last = max(top, 0), min(top + ink.shape[0], height)
        start, end = max(left, 0), min(left + ink.shape[1], width)
        if first >= last or start >= end:
            continue
        part = ink[first - top : last - top, start - left : end - left]
        target = page[first:last, start:end]
        np.maximum(target, part, out=target)
    return page
