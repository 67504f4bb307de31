"""Lines in memory, sorted by width: batches of a few shapes, each line used more than once.

A GPU trains on more lines a second than the processors make. So lines are kept, and a batch takes
those that were never used first. Each width has one number of lines: for every new shape, cuDNN
plans each of the reader's convolutions afresh, which takes longer than many steps of training.
"""

import bisect
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from text_recognizer.models.strips import STRIP_HEIGHT
from text_recognizer.train.makers import MadeLines

WIDTHS = (192, 256, 352, 480, 640, 864, 1120, 1408)
"""px: the widths of batches, each about 1.3 times the one before, up to MAX_TRAINING_WIDTH."""
FEWEST = 4
"""Lines in a batch, whatever its width."""


@dataclass(frozen=True)
class PooledBatch:
    """strips (N, 48, W) uint8; widths (N,) px; targets (N, T) token ids, padded with 0; lengths
    (N,) of the targets; used (N,) whether a batch had the line before."""

    strips: Tensor
    widths: Tensor
    targets: Tensor
    lengths: Tensor
    used: Tensor


def lines_in_batch(pixels: int, width: int) -> int:
    """How many strips of `width` px are a batch of about `pixels` px of width."""
    return max(pixels // width, FEWEST)


class _Shelf:
    """Lines of about one width."""

    def __init__(self, width: int) -> None:
        self.width, self.count, self.fresh = width, 0, 0
        self.strips = torch.empty(0, STRIP_HEIGHT, width, dtype=torch.uint8)
        self.targets = torch.empty(0, width // 8, dtype=torch.uint8)
        self.sizes = torch.empty(0, 2, dtype=torch.int64)  # width, length of the target

    def add(self, strip: np.ndarray, target: list[int], place: int | None = None) -> None:
        """Adds a line, or puts it into the place of another one."""
        if place is None:
            if self.count == len(self.strips):
                self._grow()
            place, self.count = self.count, self.count + 1
        width = strip.shape[1]
        self.strips[place, :, :width] = torch.from_numpy(strip)
        self.strips[place, :, width:] = 255
        self.targets[place, : len(target)] = torch.tensor(target, dtype=torch.uint8)
        self.targets[place, len(target) :] = 0
        self.sizes[place, 0], self.sizes[place, 1] = width, len(target)

    def _grow(self) -> None:
        for name in ("strips", "targets", "sizes"):
            old = getattr(self, name)
            new = torch.empty(max(64, 2 * len(old)), *old.shape[1:], dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def take(self, places: Tensor, used: Tensor, pin: bool) -> PooledBatch:
        sizes = self.sizes[places]
        targets = self.targets[places][:, : int(sizes[:, 1].max())].long()
        strips = self.strips[places]
        if pin:
            strips, targets = strips.pin_memory(), targets.pin_memory()
        return PooledBatch(
            strips, sizes[:, 0].contiguous(), targets, sizes[:, 1].contiguous(), used
        )


class StripPool:
    """All lines that were made, up to a number.

    Args:
        most: lines that are kept; beyond it a new line takes the place of an old one.
        seed: of the choice.
        pin: whether batches lie in pinned memory, from which a GPU copies without waiting.
    """

    def __init__(self, most: int = 400_000, seed: int = 0, pin: bool = False) -> None:
        self.most, self.pin = most, pin
        self.made = self.trained = 0
        self._rng = np.random.default_rng(seed)
        self._shelves = [_Shelf(width) for width in WIDTHS]

    def __len__(self) -> int:
        return sum(shelf.count for shelf in self._shelves)

    def add(self, made: MadeLines) -> None:
        """Adds the lines of a page."""
        ends = np.cumsum(made.widths)
        full = len(self) >= self.most
        for end, width, target in zip(ends.tolist(), made.widths, made.targets, strict=True):
            shelf = self._shelves[bisect.bisect_left(WIDTHS, width)]
            used = shelf.count - shelf.fresh
            # Used lines come first on a shelf, so an old one is replaced by a line that waits.
            place = int(self._rng.integers(used)) if full and used else None
            shelf.add(made.strips[:, end - width : end], target, place)
            shelf.fresh += place is None
            self.made += 1

    def batch(self, pixels: int) -> PooledBatch:
        """A batch of one width whose strips have about `pixels` px of width together.

        The number of lines follows from the width. Widths are drawn, among those with enough lines
        for a batch, so that lines of all widths are used equally often. Lines that were never used
        come first, the others are drawn; if no width has enough, some come twice. The pool must not
        be empty.
        """
        sizes = [lines_in_batch(pixels, shelf.width) for shelf in self._shelves]
        counts = np.array([shelf.count for shelf in self._shelves], dtype=np.float64)
        enough = counts >= sizes
        if not enough.any():
            enough = counts == counts.max()
        batches = enough * counts / sizes
        number = self._rng.choice(len(counts), p=batches / batches.sum())
        shelf, size = self._shelves[number], sizes[number]
        fresh = min(size, shelf.fresh)
        old, missing = shelf.count - shelf.fresh, size - fresh
        # Of a shelf that was never used, the fresh lines are all there are.
        others = self._rng.choice(old or fresh, missing, replace=missing > (old or fresh))
        places = np.concatenate([np.arange(old, old + fresh), others]).astype(np.int64)
        shelf.fresh -= fresh
        self.trained += size
        used = torch.from_numpy(np.arange(size) >= fresh)
        return shelf.take(torch.from_numpy(places), used, self.pin)

    def every(self, pixels: int) -> list[PooledBatch]:
        """All lines once, in batches: for a validation."""
        batches = []
        for shelf in self._shelves:
            size = lines_in_batch(pixels, shelf.width)
            for first in range(0, shelf.count, size):
                places = torch.arange(first, min(first + size, shelf.count))
                batches.append(shelf.take(places, torch.ones(len(places)).bool(), self.pin))
        return batches
