"""A thread that does a server's heavy work, one job after the other, so that the event loop stays
free to answer.

A thread pool would not do: while Python ends, `wandb` sends its last data, and by then neither a
new thread nor a pool's job can be started. This thread is there from the start."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """One thread with a queue of jobs; it ends with the process, or with `stop`."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Result], *args: Any) -> "asyncio.Future[Result]":
        """Queues a call; its future belongs to the event loop that runs now."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def job() -> None:
            result, error = None, None
            try:
                result = function(*args)
            except Exception as raised:
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, error)

        self._jobs.put(job)
        return future

    def stop(self) -> None:
        """Waits for the jobs that are queued, and ends the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
