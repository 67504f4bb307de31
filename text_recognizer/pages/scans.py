"""Scanned lines of present-day writers: Copiste d'un jour (BAnQ, CC BY 4.0), accents removed.

They bring what strokes and fonts lack: real pens, real paper, a scanner. They are French.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from text_recognizer.pages.handwriting import splits, wanted
from text_recognizer.pages.ink import InkLine, core_row, reach, with_reach_of_the_hand
from text_recognizer.vocabulary import CHARACTERS

COPISTE = "copiste.json"


class ScanSource:
    """Sets scanned lines of one Copiste page on a new page."""

    kind = "scan"

    def __init__(self, source: Path, split: str) -> None:
        self.source = source
        kept_out = splits()["copiste_validation"]
        self.pages: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for line in json.loads((source / COPISTE).read_text())["lines"]:
            text = " ".join(line["text_ascii"].split())
            if not text or any(character not in CHARACTERS for character in text):
                continue
            if wanted(line["page"], kept_out, split):
                self.pages[line["page"]].append((line["file"], text))
        self.names = sorted(self.pages)

    def write(
        self, rng: np.random.Generator, num_lines: int, height: float
    ) -> tuple[str, list[InkLine]]:
        """A page's name and at most `num_lines` of its lines, about `height` px high."""
        name = self.names[rng.integers(len(self.names))]
        lines = self.pages[name]
        count = min(num_lines, len(lines))
        start = int(rng.integers(len(lines) - count + 1))
        return name, self.copy_out(name, start, count, height)

    def copy_out(self, name: str, start: int, num_lines: int, height: float) -> list[InkLine]:
        """The lines of one page from `start` on, `num_lines` or what is left, about `height` px
        high. Raises KeyError where the split has no such page."""
        drawn = []
        for file, text in self.pages[name][start : start + num_lines]:
            gray = self._image(file)
            scale = height / gray.height
            size = (max(int(gray.width * scale), 8), max(int(height), 8))
            drawn.append(ink_of_scan(gray.resize(size, Image.Resampling.BILINEAR), text))
        return with_reach_of_the_hand(drawn)

    def _image(self, file: str) -> Image.Image:
        with Image.open(self.source / file) as image:
            return image.convert("L")


def ink_of_scan(gray: Image.Image, text: str) -> InkLine:
    """The ink of a scanned line, as dark as a pen's; the paper's own gray is left out."""
    pixels = np.asarray(gray, dtype=np.float32)
    paper = np.quantile(pixels, 0.7)
    darkest = np.quantile(pixels, 0.005)
    ink = np.clip((paper - 6 - pixels) / max(paper - 6 - darkest, 20.0), 0, 1) * 255
    ink = levelled(ink.astype(np.uint8))
    # The crop was cut to the writing's full height, so what counts as its middle is measured.
    core = core_row(ink)
    above, below = reach(ink, core)
    return InkLine(ink, text, core, above, below)


def levelled(ink: np.ndarray, pieces: int = 12) -> np.ndarray:
    """A line's ink (h, w) sheared so that the middle of its small letters keeps to one row.

    The crops are upright boxes, and many writers climb or sink within them. The slope is the
    median of the slopes between pieces of the line (Theil 1950), which a long loop does not bend.
    """
    height, width = ink.shape
    edges = np.linspace(0, width, pieces + 1).astype(int)
    xs, ys = [], []
    for left, right in zip(edges, edges[1:], strict=False):
        part = ink[:, left:right]
        if (part > 64).sum() > 0.01 * part.size:
            xs.append((left + right) / 2)
            ys.append(core_row(part))
    if len(xs) < 4 or width < 2 * height:
        return ink
    x, y = np.asarray(xs), np.asarray(ys)
    first, second = np.triu_indices(len(x), k=1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    rise = slope * width / 2
    room = int(np.ceil(abs(rise)))
    shear = (1, 0, 0, slope, 1, -rise - room)
    image = Image.fromarray(ink).transform(
        (width, height + 2 * room), Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR
    )
    return np.asarray(image)
