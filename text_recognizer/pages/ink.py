"""One written line as ink only, before it meets a page: what every ink source hands over."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class InkLine:
    """A written line.

    ink: (h, w) uint8, 0 where there is none, 255 where the pen left full ink.
    core: the row (px) through the middle of the small letters.
    above, below: how far (px) the writing reaches from that row, up to the ascenders and down
        to the descenders, for the hand in general and not only for the letters of this line.
    """

    ink: np.ndarray
    text: str
    core: float
    above: float
    below: float

    @property
    def width(self) -> int:
        return self.ink.shape[1]


def crop_to_ink(ink: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The ink cut to where there is any, and the (left, top) that was cut off.

    Raises ValueError where there is no ink at all.
    """
    rows = np.flatnonzero(ink.max(axis=1) > 32)
    columns = np.flatnonzero(ink.max(axis=0) > 32)
    if not len(rows):
        raise ValueError("the line has no ink")
    left, top = int(columns[0]), int(rows[0])
    return ink[top : rows[-1] + 1, left : columns[-1] + 1], left, top


def core_row(ink: np.ndarray) -> float:
    """The middle of the small letters, as the median row (px) of a line's ink."""
    profile = ink.sum(axis=1, dtype=np.float64)
    cumulative = np.cumsum(profile)
    return float(np.searchsorted(cumulative, cumulative[-1] / 2))


def reach(ink: np.ndarray, core: float) -> tuple[float, float]:
    """How far (px) the ink reaches above and below the row `core`, single long loops left out."""
    profile = ink.sum(axis=1, dtype=np.float64)
    cumulative = np.cumsum(profile) / max(profile.sum(), 1.0)
    top = np.searchsorted(cumulative, 0.01)
    bottom = np.searchsorted(cumulative, 0.99) + 1
    return float(max(core - top, 1.0)), float(max(bottom - core, 1.0))


def with_reach_of_the_hand(lines: list[InkLine]) -> list[InkLine]:
    """The lines with a common reach: a hand's ascenders are as tall in a line that has none."""
    above = float(np.quantile([line.above for line in lines], 0.6))
    below = float(np.quantile([line.below for line in lines], 0.6))
    return [
        InkLine(
            line.ink,
            line.text,
            line.core,
            0.35 * line.above + 0.65 * above,
            0.35 * line.below + 0.65 * below,
        )
        for line in lines
    ]


def shrunk(line: InkLine, factor: float) -> InkLine:
    """The line made smaller by a factor below one."""
    height, width = line.ink.shape
    size = (max(int(width * factor), 1), max(int(height * factor), 1))
    ink = np.asarray(Image.fromarray(line.ink).resize(size, Image.Resampling.BILINEAR))
    scale = ink.shape[0] / height
    return InkLine(ink, line.text, line.core * scale, line.above * scale, line.below * scale)
