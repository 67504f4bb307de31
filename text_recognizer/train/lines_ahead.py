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
from dataclasses import dataclass

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


@dataclass(frozen=True)
class MadeLines:
    """The lines of one page: strips (48, sum of widths) uint8, 255 the white of paper; widths in
    px; token ids of each line."""

    strips: np.ndarray
    widths: list[int]
    targets: list[list[int]]


class MadePages(IterableDataset):
    """The lines of pages without end, as (name, MadeLines): those of the validation pages first,
    which are named by their kind, then those of training pages, named TRAIN.

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

    def __iter__(self) -> Iterator[tuple[str, MadeLines]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for kind in self.kinds:
            for page in range(number, self.validation_pages, workers):
                yield kind, as_bytes(self._validation[kind].make([0, page], MAX_LINES), None)
        for page in itertools.count():
            seed = [self.seed, number, page]
            made = as_bytes(self._train.make(seed, MAX_LINES), np.random.default_rng([*seed, 1]))
            if made.widths:
                yield TRAIN, made


def as_bytes(page: Page, rng: np.random.Generator | None) -> MadeLines:
    """A page's lines as bytes; cut with a finder's errors if a generator is given."""
    lines = page_lines(page, rng)
    strips = [_to_bytes(strip[0]) for _, strip, _ in lines] or [np.zeros((48, 0), np.uint8)]
    widths = [width for width, _, _ in lines]
    return MadeLines(np.concatenate(strips, axis=1), widths, [target for _, _, target in lines])


def _to_bytes(strip: Tensor) -> np.ndarray:
    return ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


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
            for name, made in self._loader:
                if self._is_over:
                    return
                with self._changed:
                    self._add(name, made)
                    self._changed.notify_all()
        except Exception as error:  # of a page, or of a process that was killed
            self._error = error
            with self._changed:
                self._changed.notify_all()

    def _add(self, name: str, made: MadeLines) -> None:
        if name == TRAIN:
            self.train.add(made)
        else:
            self.validation[name].add(made)
            self.validation_pages_left -= 1

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


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2].rstrip(".") or type(error).__name__


class _Shelf:
    """Lines of about one width."""

    def __init__(self, width: int) -> None:
        self.width, self.count, self.fresh = width, 0, 0
        self.strips = torch.empty(0, STRIP_HEIGHT, width, dtype=torch.uint8)
        self.targets = torch.empty(0, width // STRIDE, dtype=torch.uint8)
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

    def take(self, places: Tensor, used: Tensor, pin: bool) -> StripBatch:
        widths, lengths = self.sizes[places].unbind(1)
        targets = self.targets[places][:, : int(lengths.max())].long()
        strips = self.strips[places]
        if pin:
            strips, targets = strips.pin_memory(), targets.pin_memory()
        return StripBatch(strips, widths, targets, widths // STRIDE, lengths, used)


class StripPool:
    """All lines that were made, up to a number.

    Args:
        most: lines that are kept; beyond it a new line takes the place of an old one.
        seed: of the choice.
        pin: whether batches lie in pinned memory, from which a GPU copies without waiting.
    """

    def __init__(self, most: int = 400_000, seed: int = 0, pin: bool = False) -> None:
        self.most, self.pin = most, pin
        self.made = self.taken = 0
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

    def batch(self, pixels: int) -> StripBatch:
        """A batch of one width whose strips have about `pixels` px of width together.

        The number of lines follows from the width. Widths are drawn, among those with enough lines
        for a batch, so that lines of all widths are used equally often. Lines that were never used
        come first, the others are drawn; if no width has enough, some come twice. The pool must not
        be empty.
        """
        sizes = [max(pixels // width, FEWEST) for width in WIDTHS]
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
        self.taken += size
        used = torch.from_numpy(np.arange(size) >= fresh)
        return shelf.take(torch.from_numpy(places), used, self.pin)

    def every(self, pixels: int) -> list[StripBatch]:
        """All lines once, in batches and as they are: for a validation."""
        batches = []
        for shelf in self._shelves:
            size = max(pixels // shelf.width, FEWEST)
            for first in range(0, shelf.count, size):
                places = torch.arange(first, min(first + size, shelf.count))
                batches.append(shelf.take(places, torch.zeros(len(places)).bool(), self.pin))
        return batches
