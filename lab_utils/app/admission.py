"""Lets a bounded number of pages be read at once and a bounded number wait, first come, first
served. Gradio's own queue and its limits do not hold for direct calls (`/gradio_api/run/...`)."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from text_recognizer.errors import RecognizerError

Result = TypeVar("Result")


class BusyError(RecognizerError):
    """All the readers are busy and the queue is full."""


class Admission:
    """Runs work in `readers` threads; `queue_size` pieces of it may wait.

    A piece whose caller is cancelled while it waits is dropped.

    Attributes:
        inside: pieces of work that run or wait.
    """

    def __init__(self, readers: int, queue_size: int) -> None:
        self.queue_size = queue_size
        self.inside = 0
        self._most = readers + queue_size
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="reader")
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Returns what `work` returns; raises BusyError at once where too many wait already."""
        with self._lock:
            if self.inside >= self._most:
                raise BusyError(
                    f"The reader is busy: {self.queue_size} pages are waiting already. "
                    "Try again in a few seconds."
                )
            self.inside += 1
        future = self._threads.submit(work)
        # Not around the await: work that has begun goes on after its caller has left.
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, _: Future) -> None:
        with self._lock:
            self.inside -= 1
