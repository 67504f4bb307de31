"""Lines made ahead of a GPU, which reads them faster than the processors make them.

PyTorch's DataLoader makes the pages in processes, a thread takes in their lines, and a pool on
shelves by width keeps them: a batch takes those that were never used first, and others again. Each
width has one number of lines: for every new shape, cuDNN plans each of the reader's convolutions
again, which takes longer than many steps of training.
"""

import bisect
import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from text_recognizer.errors import RecognizerError
from text_recognizer.models.strips import STRIDE, STRIP_HEIGHT
from text_recognizer.pages.generator import KINDS, Page, page_generator
from text_recognizer.train.made_data import one_thread
from text_recognizer.train.strips_data import StripBatch, page_lines

TRAIN = "train"
MAX_LINES = 8
"""On a made page."""
WIDTHS = (192, 256, 352, 480, 640, 864, 1120, 1408)
"""px: the widths of batches, each about 1.3 times the one before, up to MAX_TRAINING_WIDTH."""
FEWEST = 4
"""Lines in a batch, whatever its width."""
Line = tuple[np.ndarray, list[int]]
"""A strip (48, width) uint8, 255 the white of paper, and its token ids."""


class MadePages(IterableDataset):
    """Pages without end, as (name, lines): first the validation pages, named by their kind, then
    training pages, named TRAIN.

    Args:
        mix: kind of page -> share.
        validation_pages: of each kind in the mix; the same ones in every run.
        seed: of the training pages.
    """

    def __init__(self, mix: Mapping[str, float], validation_pages: int, seed: int) -> None:
        self.kinds = [kind for kind in KINDS if kind in mix]
        self.validation_pages, self.seed = validation_pages, seed
        # Loaded here: forked processes share the strokes and the fonts.
        self._train = page_generator(dict(mix))
        self._validation = {kind: page_generator({kind: 1.0}, "validation") for kind in self.kinds}

    def __iter__(self) -> Iterator[tuple[str, list[Line]]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for kind in self.kinds:
            for page in range(number, self.validation_pages, workers):
                yield kind, as_bytes(self._validation[kind].make([0, page], MAX_LINES), None)
        for page in itertools.count():
            seed = [self.seed, number, page]
            rng = np.random.default_rng([*seed, 1])
            yield TRAIN, as_bytes(self._train.make(seed, MAX_LINES), rng)


def as_bytes(page: Page, rng: np.random.Generator | None) -> list[Line]:
    """A page's lines; cut with a finder's errors if a generator is given."""
    return [
        (((line.strip[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy(), line.target)
        for line in page_lines(page, rng)
    ]


class LinesAhead:
    """Makes lines in processes while its block runs, and gives batches of them.

    Args:
        pages: what the processes make.
        processes: how many.
        most: lines that are kept of each kind.
        pin: see `StripPool`.
    """

    def __init__(self, pages: MadePages, processes: int, most: int, pin: bool = False) -> None:
        self.train = StripPool(most, pages.seed, pin)
        self.validation = {kind: StripPool(most, pin=pin) for kind in pages.kinds}
        self.validation_pages_left = len(pages.kinds) * pages.validation_pages
        self.waited = 0.0
        """s in which `batch` had too few new lines."""
        methods = multiprocessing.get_all_start_methods()
        self._loader = DataLoader(
            pages,
            batch_size=None,
            num_workers=processes,
            prefetch_factor=8,
            in_order=False,  # a slow page holds up no other
            collate_fn=_as_it_is,
            worker_init_fn=one_thread,
            multiprocessing_context="fork" if "fork" in methods else None,
        )
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._take_in, daemon=True)

    def __enter__(self) -> "LinesAhead":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join(timeout=10.0)

    def _take_in(self) -> None:
        """The work of the thread. The processes end with it, and with this process."""
        try:
            for name, lines in self._loader:
                if self._is_over:
                    return
                with self._changed:
                    (self.train if name == TRAIN else self.validation[name]).add(lines)
                    self.validation_pages_left -= name != TRAIN
                    self._changed.notify_all()
        except Exception as error:  # of a page, or of a process that was killed
            self._error = error
            with self._changed:
                self._changed.notify_all()

    def wait(self, is_enough: Callable[[], bool], until: float) -> None:
        """Waits for more lines, until `time.monotonic()` is `until` at most.

        Raises RecognizerError if lines can't be made.
        """
        with self._changed:
            while not is_enough() and time.monotonic() < until:
                if self._error is not None:
                    raise RecognizerError(
                        f"The processes that make lines failed: {_last_line(self._error)}. If they "
                        "were killed for want of memory, give fewer workers."
                    )
                self._changed.wait(timeout=0.1)

    def batch(self, pixels: int, uses: Callable[[], float], until: float) -> StripBatch:
        """A batch to train on, see `StripPool.batch`. Waits, until a time at most, while lines were
        used more than `uses()` times on average."""
        start = time.monotonic()
        self.wait(lambda: self.train.taken <= uses() * self.train.made, until)
        self.waited += time.monotonic() - start
        with self._changed:
            return self.train.batch(pixels)


def _as_it_is(page: tuple[str, list[Line]]) -> tuple[str, list[Line]]:
    """Leaves NumPy's arrays, which need no shared memory to be sent."""
    return page


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2].rstrip(".") or type(error).__name__


class StripPool:
    """Lines on shelves by width, up to a number.

    Args:
        most: lines that are kept; beyond it, the oldest of a shelf go.
        seed: of the choice.
        pin: whether batches lie in pinned memory, from which a GPU copies without waiting.
    """

    def __init__(self, most: int = 400_000, seed: int = 0, pin: bool = False) -> None:
        self.most, self.pin = most, pin
        self.made = self.taken = 0
        self._rng = np.random.default_rng(seed)
        self._shelves: list[list[Line]] = [[] for _ in WIDTHS]
        self._fresh = [0] * len(WIDTHS)
        """The last lines of each shelf that no batch had yet."""

    def __len__(self) -> int:
        return sum(map(len, self._shelves))

    def add(self, lines: list[Line]) -> None:
        """Adds the lines of a page."""
        for line in lines:
            number = bisect.bisect_left(WIDTHS, line[0].shape[1])
            if len(self) >= self.most:
                del self._shelves[number][:1]
            self._shelves[number].append(line)
            self._fresh[number] = min(self._fresh[number] + 1, len(self._shelves[number]))
            self.made += 1

    def batch(self, pixels: int) -> StripBatch:
        """A batch of one width whose strips have about `pixels` px of width together.

        The number of lines follows from the width. Widths are drawn, among those with enough lines
        for a batch, so that lines of all widths are used equally often. Lines that were never used
        come first, the others are drawn; if no width has enough, some come twice. The pool must not
        be empty.
        """
        sizes = [max(pixels // width, FEWEST) for width in WIDTHS]
        counts = np.array([len(shelf) for shelf in self._shelves], dtype=np.float64)
        enough = counts >= sizes
        if not enough.any():
            enough = counts == counts.max()
        batches = enough * counts / sizes
        number = self._rng.choice(len(counts), p=batches / batches.sum())
        shelf, size = self._shelves[number], sizes[number]
        fresh = min(size, self._fresh[number])
        old, missing = len(shelf) - self._fresh[number], size - fresh
        # Of a shelf that was never used, the fresh lines are all there are.
        others = self._rng.choice(old or fresh, missing, replace=missing > (old or fresh))
        lines = shelf[old : old + fresh] + [shelf[place] for place in others]
        self._fresh[number] -= fresh
        self.taken += size
        return _stacked(lines, WIDTHS[number], torch.arange(size) >= fresh, self.pin)

    def every(self, pixels: int) -> list[StripBatch]:
        """All lines once, in batches and as they are: for a validation."""
        batches = []
        for width, shelf in zip(WIDTHS, self._shelves, strict=True):
            size = max(pixels // width, FEWEST)
            for first in range(0, len(shelf), size):
                lines = shelf[first : first + size]
                batches.append(_stacked(lines, width, torch.zeros(len(lines)).bool(), self.pin))
        return batches


def _stacked(lines: list[Line], width: int, used: Tensor, pin: bool) -> StripBatch:
    """One batch of strips `width` px wide, padded with paper."""
    strips = torch.full((len(lines), STRIP_HEIGHT, width), 255, dtype=torch.uint8)
    targets = torch.zeros(len(lines), max(len(target) for _, target in lines), dtype=torch.long)
    for row, (strip, target) in enumerate(lines):
        strips[row, :, : strip.shape[1]] = torch.from_numpy(strip)
        targets[row, : len(target)] = torch.tensor(target)
    if pin:
        strips, targets = strips.pin_memory(), targets.pin_memory()
    widths = torch.tensor([strip.shape[1] for strip, _ in lines])
    lengths = torch.tensor([len(target) for _, target in lines])
    return StripBatch(strips, widths, targets, widths // STRIDE, lengths, used)
