"""Batches of strips for the reader: cut from made pages as the finder would, but less exactly."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from text_recognizer.models.normalization import normalize_page
from text_recognizer.models.strips import STRIDE, STRIP_HEIGHT, cut_strips
from text_recognizer.pages.generator import Page
from text_recognizer.train.made_data import MadeBatches
from text_recognizer.vocabulary import encode

MAX_TRAINING_WIDTH = 1400  # px; longer strips cost more than they teach


@dataclass
class StripBatch:
    """Lines of text as the reader takes them.

    strips: (N, 1, 48, W) in [-1, 1]; or (N, 48, W) uint8, to be moved before they become floats.
    widths: (N,) px. targets: (N, T) token ids, padded with 0.
    frames, lengths: (N,) of the strips and of the targets. They stay on the processor, where CTC
        needs them: it would wait for the GPU to bring them back.
    used: (N,) whether an earlier batch had the line; None if that is not known.
    """

    strips: Tensor
    widths: Tensor
    targets: Tensor
    frames: Tensor
    lengths: Tensor
    used: Tensor | None = None

    def to(self, device: torch.device | str) -> "StripBatch":
        """What the reader computes with, on a device."""
        names = ["strips", "widths", "targets", *([] if self.used is None else ["used"])]
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        return dataclasses.replace(self, **moved)


def line_geometry(page: Page) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A page's known lines as the arguments of `cut_strips`: paths, starts, ends, above, below."""
    paths = torch.from_numpy(np.stack([line.path for line in page.lines]))
    columns = [[line.start, line.end, line.above, line.below] for line in page.lines]
    starts, ends, above, below = torch.tensor(columns, dtype=torch.float32).unbind(1)
    return paths, starts, ends, above, below


def page_strips(page: Page, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
    """The strips and widths of a page's lines, with a finder's errors if a generator is given."""
    paths, starts, ends, above, below = line_geometry(page)
    ink, _ = normalize_page(torch.tensor(page.image)[None, None])
    height = above + below
    if rng is not None:
        count = len(page.lines)

        def uniform(low: float, high: float) -> Tensor:
            return torch.from_numpy(rng.uniform(low, high, count).astype(np.float32))

        paths = paths.clone()
        paths[:, :, 1] += (uniform(-0.07, 0.07) * height)[:, None]
        wave = torch.sin(torch.linspace(0, 1, paths.size(1))[None] * uniform(3, 25)[:, None])
        paths[:, :, 1] += (uniform(-0.05, 0.05) * height)[:, None] * wave
        starts = starts - uniform(-0.05, 0.6) * height
        ends = ends + uniform(-0.05, 0.6) * height
        above, below = above * uniform(0.85, 1.3), below * uniform(0.8, 1.35)
    return cut_strips(ink, paths, starts, ends, above, below)


@dataclass(frozen=True)
class Line:
    """A strip (1, 48, width) in [-1, 1] and the token ids of what is written in it."""

    strip: Tensor
    target: list[int]

    @property
    def width(self) -> int:
        """px"""
        return self.strip.size(2)


def usable_lines(
    strips: Tensor, widths: Tensor, texts: Iterable[str], max_width: int = MAX_TRAINING_WIDTH
) -> list[Line]:
    """The lines that training can use: up to `max_width` px, and not more letters than CTC has
    frames for. strips, widths: what `cut_strips` returns."""
    found = []
    for strip, width, text in zip(strips, widths.tolist(), texts, strict=True):
        target = encode(text)
        # CTC needs a frame for every character, and a blank between two alike.
        frames = len(target) + sum(a == b for a, b in zip(target, target[1:], strict=False))
        if target and width <= max_width and frames <= width // STRIDE:
            found.append(Line(strip[:, :, :width].clone(), target))
    return found


def page_lines(page: Page, rng: np.random.Generator | None) -> list[Line]:
    """The usable lines of a made page, cut with a finder's errors if a generator is given."""
    return usable_lines(*page_strips(page, rng), [line.text for line in page.lines])


class StripBatches(MadeBatches):
    """As many strips are cut as a group holds, and a batch more; a run of neighbours in width is
    taken and split in its order, so that little of a batch is padding. Larger groups waste less of
    what is cut and pad less. Strips to validate are cut exactly."""

    groups = {"train": 8, "validation": 1}

    def make_group(self, group: int) -> list[StripBatch]:
        """For training, strips are cut with a finder's errors."""
        rng = np.random.default_rng([self.seed, group])
        strips: list[Line] = []
        part = 0
        while len(strips) < (self.group + 1) * self.size:
            page = self.generator.make([self.seed, group, part], max_lines=8)
            part += 1
            strips += page_lines(page, rng if self.split == "train" else None)
        strips.sort(key=lambda line: line.width)
        first = int(rng.integers(len(strips) - self.group * self.size + 1))
        starts = first + self.size * rng.permutation(self.group)
        return [collate(strips[start : start + self.size]) for start in starts.tolist()]


def collate(lines: Sequence[Line]) -> StripBatch:
    """One batch of lines, padded with paper."""
    widths = torch.tensor([line.width for line in lines])
    lengths = torch.tensor([len(line.target) for line in lines])
    widest = -(-int(widths.max()) // 64) * 64  # few shapes: kernels are reused
    batch = torch.ones(len(lines), 1, STRIP_HEIGHT, widest)
    targets = torch.zeros(len(lines), int(lengths.max()), dtype=torch.long)
    for row, line in enumerate(lines):
        batch[row, :, :, : line.width] = line.strip
        targets[row, : len(line.target)] = torch.tensor(line.target)
    return StripBatch(batch, widths, targets, widths // STRIDE, lengths)
