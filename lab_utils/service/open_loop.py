"""Sends requests on a timetable, whether or not the earlier ones were answered: as users do, who
don't know of each other. Waiting for each answer first would go easy on a slow service."""

import threading
import time
from collections.abc import Callable, Sequence

from text_recognizer.errors import RecognizerError

Sent = tuple[float, float, float | None]
"""When a request should have been sent, when it was, and when its answer was there (s from the
start); None if none came."""


def send_open_loop(ask: Callable[[], object], arrivals: Sequence[float]) -> list[Sent]:
    """Calls `ask` at each of the moments (s from now, ascending), each time in a new thread.

    A RecognizerError counts as no answer. Returns when the last request has ended.
    """
    results: list[Sent] = [(arrival, arrival, None) for arrival in arrivals]
    began = time.perf_counter()

    def send(index: int) -> None:
        sent = time.perf_counter() - began
        try:
            ask()
            done = time.perf_counter() - began
        except RecognizerError:
            done = None
        results[index] = (arrivals[index], sent, done)

    threads = [threading.Thread(target=send, args=(index,)) for index in range(len(arrivals))]
    for arrival, thread in zip(arrivals, threads, strict=True):
        time.sleep(max(0.0, began + arrival - time.perf_counter()))
        thread.start()
    for thread in threads:
        thread.join()
    return results
