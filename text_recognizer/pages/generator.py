"""Made pages with everything known about them. The same seed makes the same page."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from text_recognizer.pages.fonts import TRAINING_FONTS, UNSEEN_FONTS, FontSource
from text_recognizer.pages.handwriting import handwriting_source
from text_recognizer.pages.ink import InkLine, shrunk
from text_recognizer.pages.layout import PlacedLine, set_lines
from text_recognizer.pages.paper import put_on_paper
from text_recognizer.pages.pen import PenSource
from text_recognizer.pages.prose import Prose
from text_recognizer.pages.scans import ScanSource

MAX_LINES = 14
WIDEST_LINE = 1400  # px: with its margins a page stays below what the recognizer scales down
WRITING_HEIGHTS = (26.0, 64.0)  # px, from the ascenders to the descenders
KINDS = ("font", "pen", "scan")
# What training reads: mostly real ink, and fonts for the characters that it lacks.
TRAINING_MIX = {"font": 0.3, "pen": 0.45, "scan": 0.25}


class InkSource(Protocol):
    """Writes the lines of a page in one hand."""

    kind: str

    def write(
        self, rng: np.random.Generator, num_lines: int, height: float
    ) -> tuple[str, list[InkLine]]: ...


@dataclass(frozen=True)
class Page:
    """A made page: image (H, W) uint8, its lines from top to bottom, whose hand, which kind."""

    image: np.ndarray
    lines: list[PlacedLine]
    writer: str
    kind: str

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


def ink_source(kind: str, split: str = "train", prose: Prose | None = None) -> InkSource:
    """The source of a kind (`font`, `pen` or `scan`) for a split (`train` or `validation`).

    Validation has fonts, writers and pages that training never sees. prose: what fonts write.
    """
    if kind == "font":
        return FontSource(TRAINING_FONTS if split == "train" else UNSEEN_FONTS, prose or Prose())
    if kind == "pen":
        return PenSource(handwriting_source(), split)
    if kind == "scan":
        return ScanSource(handwriting_source(), split)
    raise ValueError(f"there are no pages of kind {kind!r}: take one of {', '.join(KINDS)}")


class PageGenerator:
    """Makes pages from ink sources in given shares."""

    def __init__(
        self, sources: list[InkSource], shares: list[float] | None = None, wear: float = 1.0
    ) -> None:
        self.wear = wear
        self.sources = sources
        weights = np.asarray(shares or [1.0] * len(sources), dtype=np.float64)
        self.shares = weights / weights.sum()

    def make(
        self,
        seed: int | list[int],
        max_lines: int = MAX_LINES,
        heights: tuple[float, float] = WRITING_HEIGHTS,
    ) -> Page:
        """The page of a seed: 1 to `max_lines` lines, writing of a height (px) between two."""
        rng = np.random.default_rng(seed)
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        num_lines = int(rng.integers(1, max_lines + 1))
        height = float(rng.uniform(*heights))
        writer, lines = source.write(rng, num_lines, height)
        return set_page(rng, lines, writer, source.kind, self.wear)


def set_page(
    rng: np.random.Generator, lines: list[InkLine], writer: str, kind: str, wear: float
) -> Page:
    """A page of these lines, shrunk where one is too wide. wear: what `put_on_paper` takes."""
    widest = max(line.width for line in lines)
    if widest > WIDEST_LINE:
        lines = [shrunk(line, WIDEST_LINE / widest) for line in lines]
    ink, placed = set_lines(rng, lines)
    return Page(put_on_paper(rng, ink, placed, wear), placed, writer, kind)


def page_generator(mix: dict[str, float] | None = None, split: str = "train") -> PageGenerator:
    """A generator over the kinds in `mix` (kind -> share), by default the training mix."""
    mix = mix or TRAINING_MIX
    return PageGenerator([ink_source(kind, split) for kind in mix], list(mix.values()))
