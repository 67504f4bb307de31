"""Finds the lines of pages, and reads lines, side by side, each with one thread, instead of one by
one with all threads.

PyTorch's own threads share each operator and wait for each other at its end, some thousand times a
page. That takes nearly as long as it saves on an idle machine, and longer beside other work.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor

Found = list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]
"""What `ParagraphReader.find_lines` returns: ink, paths, edges, reach and scale of each page."""
Readings = list[list[Tensor]]
"""Of each line one or two: the tokens (T,), or log-probabilities (F, C) of its frames."""

_lock = threading.Lock()
_inside = 0
_threads = 1


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Inside, PyTorch uses one thread for an operator; gives how many it had."""
    global _inside, _threads
    with _lock:
        # PyTorch gives a new thread the number that was set last: the 1 below, if others are in.
        _threads = _threads if _inside else torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield _threads
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_threads)


@contextmanager
def as_it_is(device: str) -> Iterator[None]:
    """Inside, this thread runs a TorchScript file for inference and, on a processor, as it is.

    TorchScript would watch the first run, and spend the second one on a plan that is no faster: the
    first text comes 0.4 s earlier without.
    """
    with torch.inference_mode(), torch.jit.optimized_execution(device != "cpu"):
        yield


def read_side_by_side(
    model: torch.jit.ScriptModule,
    pages: Tensor,
    sizes: Tensor,
    twice: bool,
    most: int | None = None,
) -> tuple[Readings, list[Tensor]]:
    """Reads with a compiled `ParagraphReader`, on a processor as many pages and then lines at once
    as PyTorch has threads.

    Args:
        pages, sizes: what `ParagraphReader.read_lines` takes.
        twice: log-probabilities, doubtful lines with a second reading; else tokens.
        most: only so many lines, the longest.

    Returns the readings of each line, and the lines' page, confidence, path and height.
    """
    # What is set by `with` counts for one thread.
    device, dtype = pages.device.type, torch.get_autocast_dtype(pages.device.type)
    autocast = torch.is_autocast_enabled(device)

    with one_thread_each() as threads, ThreadPoolExecutor(threads, "reading") as pool:

        def at_once(method: Callable, given: Iterable[tuple]) -> list:
            def in_one_thread(one: tuple) -> Any:
                torch.set_num_threads(1)
                with as_it_is(device), torch.autocast(device, dtype, autocast):
                    return method(*one)

            return list(pool.map(in_one_thread, given))

        is_one = pages.is_cuda or threads == 1
        parts = [(pages, sizes)] if is_one else zip(pages.split(1), sizes.split(1), strict=True)
        found = list(chain.from_iterable(at_once(model.find_lines, parts)))
        lines = _longest_first(found)[:most]
        shares = [lines.sort().values] if is_one else lines.split(1)
        read_shares = at_once(model.read_found, [(found, share, twice) for share in shares])
    first, second = ([one for part in read_shares for one in part[n]] for n in (0, 1))
    numbers, *places = (
        torch.cat([part[n] for part in read_shares]) for n in range(2, len(read_shares[0]))
    )
    order = numbers.argsort()
    again = second or [first[0][:0]] * len(first) if first else []
    readings = [
        [first[line], again[line]] if len(again[line]) else [first[line]] for line in order.tolist()
    ]
    return readings, [place[order] for place in places]


def _longest_first(found: Found) -> Tensor:
    """The numbers (N,) of all lines, those with the most writing first: what is left to the end
    takes a thread little time while the others wait."""
    lengths = [(edges[1] - edges[0]) / reach.sum(0) for _, _, edges, reach, _ in found]
    return torch.cat(lengths).argsort(descending=True)
