"""Processes that make lines ahead of a GPU, which reads them faster than one processor makes them.

They are forked, so that the strokes and fonts are loaded once and shared by all of them. A thread
takes in what they make: between two processes fits little more than one page at a time, so a
program that looks only once in a step would hold them up.
"""

import contextlib
import multiprocessing
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.generator import KINDS, Page, PageGenerator, page_generator
from text_recognizer.train.strips_data import page_lines

TRAIN, FAILED, FINISHED = "train", "failed", "finished"
MOST_LINES = 8
"""On a made page."""
QUEUED = 8
"""Pages of each process that may wait to be fetched."""
_TAKEN = 500
"""Pages that the thread has taken in, at most: then the processes wait."""


@dataclass(frozen=True)
class MadeLines:
    """The lines of one page: strips (48, sum of widths) uint8, 255 the white of paper; widths in
    px; token ids of each line."""

    strips: np.ndarray
    widths: list[int]
    targets: list[list[int]]


class Makers:
    """Makes the lines of training pages without end, and those of the validation pages first.

    A context manager: the processes end with its block, and with this process.

    Args:
        mix: kind of page -> share.
        processes: how many.
        validation_pages: of each kind in the mix; the same ones in every run.
        seed: of the training pages.
    """

    def __init__(
        self, mix: Mapping[str, float], processes: int, validation_pages: int, seed: int
    ) -> None:
        self.kinds = [kind for kind in KINDS if kind in mix]
        self._train = page_generator(dict(mix))
        self._validation = {kind: page_generator({kind: 1.0}, "validation") for kind in self.kinds}
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("fork" if "fork" in methods else None)
        self._queue = self._context.Queue(QUEUED * processes)
        self._taken: queue.Queue[tuple[str, Any]] = queue.Queue(_TAKEN)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._take_in, daemon=True)
        self._processes: list[Any] = []
        self._settings = (processes, validation_pages, seed)
        self.validating = processes
        """Processes that still make validation pages."""

    def __enter__(self) -> "Makers":
        processes, pages, seed = self._settings
        for number in range(processes):
            own = [(kind, n) for kind in self.kinds for n in range(number, pages, processes)]
            process = self._context.Process(
                target=_make,
                args=(self._train, self._validation, own, [seed, number], self._queue),
                daemon=True,
            )
            with warnings.catch_warnings():
                # Python warns of forks beside threads; the children use none of PyTorch's.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            self._processes.append(process)
        self._thread.start()  # after the forks, which no thread should take part in
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=5.0)
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        self._queue.close()

    def fetch(self, seconds: float = 0.0) -> Iterator[tuple[str, MadeLines]]:
        """What is ready: TRAIN or the kind of a validation page, and its lines.

        Waits up to `seconds` for the first. Raises RecognizerError where a process failed.
        """
        while True:
            try:
                name, made = self._taken.get(block=seconds > 0, timeout=seconds or None)
            except queue.Empty:
                if not any(process.is_alive() for process in self._processes):
                    raise RecognizerError(
                        "The processes that make lines have ended, killed perhaps for want of "
                        "memory; give fewer --workers."
                    ) from None
                return
            seconds = 0.0
            if name == FAILED:
                raise RecognizerError(f"A process that makes lines failed: {made}")
            if name == FINISHED:
                self.validating -= 1
                continue
            yield name, made

    def _take_in(self) -> None:
        """The work of the thread."""
        while not self._is_over.is_set():
            with contextlib.suppress(queue.Empty):
                message = self._queue.get(timeout=0.2)
                while not self._is_over.is_set():
                    with contextlib.suppress(queue.Full):
                        self._taken.put(message, timeout=0.2)
                        break


def _make(
    train: PageGenerator,
    validation: dict[str, PageGenerator],
    own: list[tuple[str, int]],
    seed: list[int],
    out: Any,
) -> None:
    """The work of a process: its validation pages, then training pages until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    torch.set_num_threads(1)
    try:
        for kind, number in own:
            page = validation[kind].make([0, number], MOST_LINES)
            _send(out, (kind, as_bytes(page, None)))
        _send(out, (FINISHED, None))
        number = 0
        while True:
            page = train.make([*seed, number], MOST_LINES)
            made = as_bytes(page, np.random.default_rng([*seed, number, 1]))
            if made.widths:
                _send(out, (TRAIN, made))
            number += 1
    except (RecognizerError, ValueError, OSError, RuntimeError) as error:
        last = traceback.format_exception_only(error)[-1].strip()
        _send(out, (FAILED, last))


def _send(out: Any, message: tuple[str, Any]) -> None:
    """Waits for room in the queue; ends this process once its parent has died."""
    while True:
        try:
            return out.put(message, timeout=5.0)
        except queue.Full:
            parent = multiprocessing.parent_process()
            if parent is not None and not parent.is_alive():
                raise SystemExit from None


def as_bytes(page: Page, rng: np.random.Generator | None) -> MadeLines:
    """A page's lines as bytes; cut with a finder's errors if a generator is given."""
    lines = page_lines(page, rng)
    strips = [_to_bytes(strip[0]) for _, strip, _ in lines] or [np.zeros((48, 0), np.uint8)]
    widths = [width for width, _, _ in lines]
    return MadeLines(np.concatenate(strips, axis=1), widths, [target for _, _, target in lines])


def _to_bytes(strip: Tensor) -> np.ndarray:
    return ((strip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
