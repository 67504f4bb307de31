"""Spends a replica's threads where they do most: all on a page that is alone, one on each page of
a batch. A page's small convolutions leave much of a second thread's time unused; a page of its own
doesn't."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image

from text_recognizer.paragraph_text_recognizer import PageReading, ParagraphTextRecognizer


class BatchReader:
    """Reads batches of pages with a number of threads.

    PyTorch keeps the number of threads for each calling thread (OpenMP's, see
    `torch.set_num_threads`), so several can read side by side without getting in each other's way.

    Args:
        recognizer: on the CPU; its network runs outside of Python's lock.
        threads: the processor's cores to use.
    """

    def __init__(self, recognizer: ParagraphTextRecognizer, threads: int) -> None:
        self._recognizer, self._threads = recognizer, threads
        self._alone = ThreadPoolExecutor(
            1, "alone", initializer=torch.set_num_threads, initargs=(threads,)
        )
        self._beside = ThreadPoolExecutor(
            threads, "beside", initializer=torch.set_num_threads, initargs=(1,)
        )

    def read(self, pages: Sequence[Image.Image]) -> list[PageReading | Exception]:
        """The readings of pages (mode "L") in their order; waits for them.

        A page that breaks the network has the exception in place of its reading, and harms none of
        those that it came with: they are read once more, each alone.
        """
        try:
            return self._read(pages)
        except Exception as error:
            if len(pages) == 1:
                return [error]
            return [self.read([page])[0] for page in pages]

    def _read(self, pages: Sequence[Image.Image]) -> list[PageReading]:
        if len(pages) == 1 or self._threads == 1:
            return self._alone.submit(self._recognizer.read_batch, pages).result()
        parts = shares(pages, self._threads)
        running = [
            self._beside.submit(self._recognizer.read_batch, [pages[i] for i in part])
            for part in parts
        ]
        readings: dict[int, PageReading] = {}
        for part, task in zip(parts, running, strict=True):
            readings |= zip(part, task.result(), strict=True)
        return [readings[position] for position in range(len(pages))]


def shares(pages: Sequence[Image.Image], count: int) -> list[list[int]]:
    """The pages' positions in at most `count` shares of about the same area in all.

    The largest page that is left goes to the share with the least (Graham, Bounds on
    Multiprocessing Timing Anomalies, 1969).
    """
    parts: list[list[int]] = [[] for _ in range(min(count, len(pages)))]
    areas = [0] * len(parts)
    order = sorted(range(len(pages)), key=lambda i: -pages[i].width * pages[i].height)
    for position in order:
        least = areas.index(min(areas))
        parts[least].append(position)
        areas[least] += pages[position].width * pages[position].height
    return parts
