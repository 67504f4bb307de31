"""Lines from pen strokes: UNIPEN's writers, drawn with a pen of our choice.

UNIPEN's words were written one by one, each on its own baseline. A line is put together from one
writer's words with the baselines and the sizes lined up, or is one of the lines of text that
writers wrote whole.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from text_recognizer.pages.ink import InkLine, crop_to_ink, reach, with_reach_of_the_hand
from text_recognizer.pages.unipen import Item, Writer, read_writers

FEWEST_LINES = 12  # of one writer, to copy pages of them
LONGEST_LINE = 45  # heights of the writing: what is longer fits on no page
TOO_MANY = 200  # lines that do not fit: then a writer's lines are written smaller
# Single signs were written in boxes: how far above (-) the baseline they belong, in x-heights.
SIGN_HEIGHTS = (
    dict.fromkeys("-+=*~", -0.3) | dict.fromkeys("'\"^`", -1.3) | dict.fromkeys(",;_", 0.3)
)
SUPERSAMPLING = 2  # Pillow draws lines without antialiasing


class PenSource:
    """Writes lines with one UNIPEN writer's strokes."""

    kind = "pen"

    def __init__(self, source: Path, split: str) -> None:
        self.writers = read_writers(source, split)
        # A writer with much material is seen more often, but does not drown out the others.
        amount = [(len(w.words) + 4 * len(w.lines)) ** 0.5 for w in self.writers]
        self.weights = np.asarray(amount) / sum(amount)

    def write(
        self, rng: np.random.Generator, num_lines: int, height: float
    ) -> tuple[str, list[InkLine]]:
        """A writer's name and `num_lines` lines whose writing is about `height` px high."""
        writer = self.writers[rng.choice(len(self.writers), p=self.weights)]
        x_height = height * rng.uniform(0.3, 0.42)
        pen = max(height * rng.uniform(0.025, 0.075), 0.9)
        slant = float(rng.normal(0, 0.12))
        stretch = float(rng.uniform(0.85, 1.2))
        spacing = float(rng.uniform(0.9, 2.4))
        length = int(rng.integers(12, 56))
        whole = bool(writer.lines) and (not writer.words or rng.random() < 0.6)

        def draw_one(size: float) -> InkLine | None:
            wanted_length = length * rng.uniform(0.3 if rng.random() < 0.12 else 0.8, 1.1)
            text, placed = (
                _whole_lines(rng, writer, wanted_length, spacing)
                if whole and rng.random() < 0.9
                else _line_of_words(rng, writer, wanted_length, spacing)
            )
            return _draw(text, placed, size * x_height / writer.x_height, slant, stretch, pen)

        return writer.name, _lines_that_fit(draw_one, num_lines, height)

    def copy_out(
        self, rng: np.random.Generator, name: str, num_lines: int, height: float
    ) -> list[InkLine]:
        """`num_lines` lines, about `height` px high, of what one writer wrote, in its order and
        with the slant and the stretch of the hand: their lines, or words set to lines.

        Single letters and signs are left out: whether `o` or `O` was meant, nobody can tell.
        Raises KeyError where the split has no such writer.
        """
        writer = {writer.name: writer for writer in self.writers}[name]
        x_height = height * rng.uniform(0.33, 0.4)
        pen = max(height * rng.uniform(0.03, 0.06), 0.9)
        spacing = float(rng.uniform(1.2, 2.0))
        length = int(rng.integers(20, 40)) * writer.pitch
        pieces = _own_lines(rng, writer) or _own_words(rng, writer, length, spacing)

        def draw_one(size: float) -> InkLine | None:
            return _draw(*next(pieces), size * x_height / writer.x_height, 0.0, 1.0, pen)

        return _lines_that_fit(draw_one, num_lines, height)

    def copy_word(self, rng: np.random.Generator, name: str, height: float) -> InkLine | None:
        """One word of three to ten letters as a writer wrote it, its small letters drawn as in a
        line about `height` px high; None if the writer wrote no such word.

        Raises KeyError where the split has no such writer.
        """
        writer = {writer.name: writer for writer in self.writers}[name]
        words = [word for word in writer.words if 3 <= len(word.text) <= 10 and word.text.isalpha()]
        if not words:
            return None
        word = words[rng.integers(len(words))]
        pen = max(height * rng.uniform(0.03, 0.06), 0.9)
        return _draw(word.text, [(word, 0.0, 0.0, 1.0)], 0.36 * height / word.x_height, 0, 1, pen)


def _lines_that_fit(
    draw_one: Callable[[float], InkLine | None], num_lines: int, height: float
) -> list[InkLine]:
    """`num_lines` of the lines that are drawn in a size, 1 at first, and fit on a page of writing
    about `height` px high."""
    lines: list[InkLine] = []
    size, left_out = 1.0, 0
    while len(lines) < num_lines:
        line = draw_one(size)
        if line is not None and line.width < LONGEST_LINE * height:
            lines.append(line)
            continue
        left_out += 1
        if left_out % TOO_MANY == 0:  # a writer may have written only long lines
            size *= 0.8
    return with_reach_of_the_hand(lines)


Placed = list[tuple[Item, float, float, float]]  # item, x, y of its baseline, scale


def _gap(rng: np.random.Generator, writer: Writer, spacing: float) -> float:
    """The space to the next word. People who write letters far apart leave more of it, or no reader
    could see where a word ends."""
    return max(writer.x_height * spacing, 1.35 * writer.pitch) * rng.uniform(0.75, 1.3)


def _whole_lines(
    rng: np.random.Generator, writer: Writer, length: float, spacing: float
) -> tuple[str, Placed]:
    """What the writer wrote in one go; short pieces are set side by side up to the length."""
    texts: list[str] = []
    placed: Placed = []
    x = 0.0
    while not texts or sum(map(len, texts)) < 0.6 * length:
        item = writer.lines[rng.integers(len(writer.lines))]
        scale = float(np.clip(writer.x_height / item.x_height, 0.4, 2.5) ** 0.8)
        placed.append((item, x, 0.0, scale))
        x += item.width * scale + _gap(rng, writer, spacing)
        texts.append(item.text)
    return " ".join(texts), placed


def _line_of_words(
    rng: np.random.Generator, writer: Writer, length: float, spacing: float
) -> tuple[str, Placed]:
    texts: list[str] = []
    placed: Placed = []
    x = end = 0.0
    source = writer.words or writer.lines
    unit = writer.x_height
    while sum(map(len, texts)) + len(texts) < length:
        if writer.signs and rng.random() < 0.15:
            text, items = _number(rng, writer)
        else:
            item = source[rng.integers(len(source))]
            text, items = item.text, [item]
        closes = bool(texts) and all(character in ",.;:!?)" for character in text)
        if closes:
            x = end + unit * 0.2
        for item in items:
            # Words written larger or smaller than usual are brought halfway to the writer's size:
            # what is left is the unevenness of a hand. A single letter says nothing about size.
            own = unit / item.x_height if len(item.text) > 2 and item.text.islower() else 1.0
            scale = float(np.clip(own, 0.6, 1.6) ** 0.5)
            y = (float(rng.normal(0, 0.06)) + SIGN_HEIGHTS.get(item.text, 0.0)) * unit
            placed.append((item, x, y, scale))
            end = x + item.width * scale
            x = end + unit * rng.uniform(0.15, 0.4)
        x += _gap(rng, writer, spacing)
        if closes:
            texts[-1] += text
        else:
            texts.append(text)
    return " ".join(texts), placed


def _own_lines(rng: np.random.Generator, writer: Writer) -> Iterator[tuple[str, Placed]] | None:
    """The writer's lines from a random one on, round and round, each text once in a round; None
    where they are too few."""
    lines = list({item.text: item for item in writer.lines if len(item.text) > 7}.values())
    if len(lines) < FEWEST_LINES:
        return None
    first = int(rng.integers(len(lines)))
    turned = lines[first:] + lines[:first]
    return ((item.text, [(item, 0.0, 0.0, 1.0)]) for item in itertools.cycle(turned))


def _own_words(
    rng: np.random.Generator, writer: Writer, length: float, spacing: float
) -> Iterator[tuple[str, Placed]]:
    """The writer's words from a random one on, set to lines about `length` units long; a word that
    was written several times comes once in a round."""
    words = [i for i in writer.words if i.text in ("a", "A", "I") or len(i.text) > 1]
    words = list({item.text: item for item in words if item.text[0].isalnum()}.values())
    first = int(rng.integers(len(words)))
    texts: list[str] = []
    placed: Placed = []
    x = 0.0
    for item in itertools.cycle(words[first:] + words[:first]):
        if texts and x + item.width > length:
            yield " ".join(texts), placed
            texts, placed, x = [], [], 0.0
        texts.append(item.text)
        placed.append((item, x, 0.0, 1.0))
        x += item.width + _gap(rng, writer, spacing)


def _number(rng: np.random.Generator, writer: Writer) -> tuple[str, list[Item]]:
    """Digits of the writer in a row, or one capital or symbol of theirs."""
    digits = [c for c in writer.signs if c.isdigit()]
    if digits and rng.random() < 0.7:
        characters = [digits[rng.integers(len(digits))] for _ in range(rng.integers(1, 6))]
    else:
        every = sorted(writer.signs)
        characters = [every[rng.integers(len(every))]]
    items = [writer.signs[c][rng.integers(len(writer.signs[c]))] for c in characters]
    return "".join(characters), items


def _draw(
    text: str, placed: Placed, scale: float, slant: float, stretch: float, pen: float
) -> InkLine | None:
    """Draws the strokes: (x, y) in the writer's units from the line's baseline, scaled to px."""
    paths = []
    for item, x, y, own in placed:
        for stroke in item.strokes:
            points = stroke.astype(np.float64)
            points[:, 1] = (points[:, 1] - item.baseline) * own + y
            points[:, 0] = points[:, 0] * own + x - slant * points[:, 1]
            points[:, 0] *= stretch
            paths.append(_thinned(points * (scale * SUPERSAMPLING), pen))
    every = np.concatenate(paths)
    margin = pen * SUPERSAMPLING + 2
    low, high = every.min(axis=0) - margin, every.max(axis=0) + margin
    width, height = (int(np.ceil(edge)) for edge in high - low)
    if width > 4000 * SUPERSAMPLING or height > 300 * SUPERSAMPLING or min(width, height) < 4:
        return None
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    line_width = max(round(pen * SUPERSAMPLING), 1)
    radius = line_width / 2
    for points in paths:
        flat = [tuple(point) for point in points - low]
        if len(flat) > 1:
            draw.line(flat, fill=255, width=line_width, joint="curve" if line_width > 3 else None)
        for x, y in (flat[0], flat[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    image = image.reduce(SUPERSAMPLING)
    ink, _, cut = crop_to_ink(np.asarray(image))
    x_height = scale * float(np.median([item.x_height * own for item, _, _, own in placed]))
    core = -low[1] / SUPERSAMPLING - cut - x_height / 2
    above, below = reach(ink, core)
    return InkLine(ink, text, core, max(above, 0.6 * x_height), max(below, 0.6 * x_height))


def _thinned(points: np.ndarray, spacing: float) -> np.ndarray:
    """The points without those that lie closer together than the pen is wide."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    if len(points) < 3:
        return points
    bins = np.floor(np.cumsum(steps) / spacing)
    keep = np.concatenate([[True], np.diff(bins, prepend=-1) > 0])
    keep[-1] = True
    return points[keep]
