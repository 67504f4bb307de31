"""A thread that does a server's heavy work, one job after the other, so that the event loop stays
free to answer.

A thread pool would not do: while Python ends, `wandb` sends its last data, and by then neither a
new thread nor a pool's job can be started. This thread is there from the start."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Worker:
    """One thread with a queue of jobs; it ends with the process, or with `stop`."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future, Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Queues a call; what it returns or raises is awaited in the event loop that runs now."""
        future: Future = Future()
        self._jobs.put((future, function))
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """Waits for the jobs that are queued, and ends the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            future, function = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)
