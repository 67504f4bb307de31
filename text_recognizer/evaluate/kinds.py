"""How well is each kind of picture read that people bring? `pages.kinds` makes them, from
handwriting that no training sees, so that the kinds differ in nothing but what was done to the
page.

The same seed makes the same pictures on every machine.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image, ImageOps

from text_recognizer.evaluate import Recognizer
from text_recognizer.evaluate.validation import plans
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.pages import kinds
from text_recognizer.pages.fonts import UNSEEN_FONTS, FontSource
from text_recognizer.pages.generator import Page, ink_source, set_page
from text_recognizer.pages.ink import InkLine
from text_recognizer.pages.layout import set_lines
from text_recognizer.pages.paper import put_on_paper
from text_recognizer.pages.pen import PenSource
from text_recognizer.pages.prose import Prose

LINES = 6  # of a page
HEIGHT = 40.0  # px of the writing, from the ascenders to the descenders
WORD_HEIGHTS = (35, 50, 70, 100, 140)  # px of a single word's ink


@dataclass(frozen=True)
class KindItem:
    """A picture of one kind, and what is written in it."""

    kind: str
    picture: Image.Image
    text: str


Make = Callable[[np.random.Generator, Page], Image.Image]


def _on(page: Page) -> Image.Image:
    return Image.fromarray(page.image)


PAGE_KINDS: dict[str, Make] = {
    "plain": lambda rng, page: _on(page),
    "skew-8": lambda rng, page: kinds.skew(rng, _on(page), 8),
    "skew-15": lambda rng, page: kinds.skew(rng, _on(page), 15),
    "skew-25": lambda rng, page: kinds.skew(rng, _on(page), 25),
    "turn-90": lambda rng, page: kinds.turn(_on(page), 90),
    "turn-180": lambda rng, page: kinds.turn(_on(page), 180),
    "turn-270": lambda rng, page: kinds.turn(_on(page), 270),
    "mirrored": lambda rng, page: ImageOps.mirror(_on(page)),
    "shadow-40": lambda rng, page: kinds.shadow(rng, _on(page), 0.4),
    "shadow-30": lambda rng, page: kinds.shadow(rng, _on(page), 0.3),
    "back-40": lambda rng, page: kinds.back(rng, _on(page), 0.4),
    "desk-80": lambda rng, page: kinds.desk(rng, _on(page), 0.8),
    "far-35": lambda rng, page: kinds.desk(rng, _on(page), 0.35),
    "clutter-60": lambda rng, page: kinds.desk(rng, _on(page), 0.6, clutter=True),
}
"""What is made of a whole page. `line`, `line-twice`, `columns` and `word-N` are the others."""

KINDS = (
    *PAGE_KINDS,
    "columns",
    "line",
    "line-twice",
    *(f"word-{height}" for height in WORD_HEIGHTS),
)


class Writing:
    """Clean pages, lines and words of the hands that are kept for validation.

    real: UNIPEN's writers and Copiste's pages in turn; else fonts that training never sees.
    """

    def __init__(self, real: bool = True) -> None:
        self.real = real
        if real:
            self._pen, self._scan = (
                ink_source("pen", "validation"),
                ink_source("scan", "validation"),
            )
            self._writers = sorted({plan.name for plan in plans(["unipen"])})
            self._scanned = sorted({plan.name for plan in plans(["copiste"])})

    def lines(self, rng: np.random.Generator, number: int, count: int = LINES) -> list[InkLine]:
        """`count` lines of the hand of that number."""
        if not self.real:
            name = UNSEEN_FONTS[number % len(UNSEEN_FONTS)]
            return FontSource([name], Prose(0.2, 0.0)).write(rng, count, HEIGHT)[1]
        if number % 2:
            return self._scan.copy_out(_spread(self._scanned, number), 0, count, HEIGHT)
        return self._pen.copy_out(rng, _spread(self._writers, number), count, HEIGHT)

    def page(self, rng: np.random.Generator, number: int, count: int = LINES) -> Page:
        """A clean scan of such lines."""
        return set_page(rng, self.lines(rng, number, count), str(number), "kind", wear=0.0)

    def columns(self, rng: np.random.Generator, number: int) -> tuple[Image.Image, str]:
        """A sheet with two columns, and its text in reading order."""
        lines = self.lines(rng, number, 2 * LINES)
        half, layout = len(lines) // 2, int(rng.integers(2**32))
        both = [
            set_lines(np.random.default_rng(layout), part) for part in (lines[:half], lines[half:])
        ]
        gap = round(HEIGHT * rng.uniform(1.0, 3.0))
        height = max(ink.shape[0] for ink, _ in both)
        inks = [np.pad(ink, ((0, height - ink.shape[0]), (0, gap))) for ink, _ in both]
        placed = [line for _, lines in both for line in lines]
        sheet = put_on_paper(rng, np.concatenate(inks, axis=1), placed, wear=0.0)
        return Image.fromarray(sheet), "\n".join(line.text for line in placed)

    def word(self, rng: np.random.Generator, number: int) -> InkLine:
        """One word."""
        if self.real:
            assert isinstance(self._pen, PenSource)
            for step in range(len(self._writers)):
                name = _spread(self._writers, 2 * (number + step))
                if (ink := self._pen.copy_word(rng, name, 100.0)) is not None:
                    return ink
        name = UNSEEN_FONTS[number % len(UNSEEN_FONTS)]
        source = FontSource([name], Prose(0.0, 1.0))
        return source.write_text(source.prose.words(rng, 1)[0], 100.0)


def _spread(names: list[str], number: int) -> str:
    return names[(number // 2 * 7) % len(names)]


def make_items(
    wanted: tuple[str, ...] = KINDS, count: int = 8, real: bool = True, seed: int = 0
) -> Iterator[KindItem]:
    """`count` pictures of each kind; three times as many of words and lines, which are short."""
    writing = Writing(real)
    for kind in wanted:
        for number in range(count if kind in PAGE_KINDS or kind == "columns" else 3 * count):
            rng = np.random.default_rng([seed, number])
            yield _item(kind, writing, rng, number)


def _item(kind: str, writing: Writing, rng: np.random.Generator, number: int) -> KindItem:
    if kind in PAGE_KINDS:
        page = writing.page(rng, number)
        return KindItem(kind, PAGE_KINDS[kind](rng, page), page.text)
    if kind == "columns":
        sheet, text = writing.columns(rng, number)
        return KindItem(kind, sheet, text)
    if kind in ("line", "line-twice"):
        page = writing.page(rng, number, 1)
        line = page.lines[0]
        picture = kinds.crop(rng, _on(page), line)
        if kind == "line-twice":
            picture = picture.resize((2 * picture.width, 2 * picture.height))
        return KindItem(kind, picture, line.text)
    ink = writing.word(rng, number)
    return KindItem(kind, kinds.word(rng, ink, float(kind.removeprefix("word-"))), ink.text)


@dataclass(frozen=True)
class KindRates:
    """How well the pictures of one kind were read."""

    kind: str
    cer: float
    split: float | None
    """Share of the pictures of one line that were read as several; None without such pictures."""
    pictures: int


def kind_rates(recognizer: Recognizer, items: Iterable[KindItem]) -> Iterator[KindRates]:
    """Reads pictures, those of a kind one after another; yields as each kind is done."""
    for kind, group in groupby(items, lambda item: item.kind):
        read = [(recognizer.predict_batch([item.picture])[0], item.text) for item in group]
        cer = Edits.total(character_edits(text, label) for text, label in read).rate
        single = ["\n" in text for text, label in read if "\n" not in label]
        yield KindRates(kind, cer, sum(single) / len(single) if single else None, len(read))
