"""Runs the steps of a student's notebook in one process that keeps to its limits.

A process that takes too long, or too much, is killed; nothing that it started outlives it.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab_authoring.workplace import Workplace
from lab_utils.process import end_kept, start_kept
from text_recognizer.errors import RecognizerError

LOOK_EVERY = 0.25
"""s between two looks at the memory."""
SLACK = 1.25
"""One process gets a MemoryError at the limit; all together are killed at this many times it."""
MAX_PROCESSES = 100


class GradingError(RecognizerError):
    """Nothing can be graded here, and the message says why."""


class Stopped(Exception):
    """The grading was interrupted."""


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    cell_timeout: float = 60.0
    """s for each cell and each check; then the process is killed."""
    total_timeout: float = 600.0
    """s for the notebook."""
    memory_mib: int = 4096
    """Of data, for each process of a notebook."""


@dataclass(frozen=True)
class Ending:
    """How a step ended."""

    result: str
    """Of a cell: "ok" or "failed"; of a check: "passed", "failed" or "missing"; of both:
    "timed out", "not reached" (the notebook's time was over), "out of memory" or "died"."""
    message: str = ""
    alive: bool = True
    """Whether the process, and with it all that was defined, is still there."""


def run_steps(
    place: Workplace, job: dict, limits: Limits, deadline: float, stop: threading.Event
) -> Iterator[Ending]:
    """Runs the steps of a job in a new process: how each ended, up to one that ends the process.

    Args:
        job: as `student_process` takes it.
        deadline: of the notebook, on the monotonic clock.
        stop: set by another thread to interrupt; then this raises Stopped.
    """
    file = place.notebooks.parent.with_name("job.json")
    file.write_text(json.dumps(job | {"memory_mib": limits.memory_mib}), encoding="utf-8")
    process = start_kept(
        [sys.executable, "-m", "lab_authoring.student_process", str(file)],
        cwd=place.notebooks,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_collect, args=(process, replies), daemon=True).start()
    try:
        for number in range(len(job["steps"])):
            # The first step is the start of Python and the set-up.
            seconds = limits.cell_timeout if number else max(60.0, limits.cell_timeout)
            ending = _ending(process, replies, limits, time.monotonic() + seconds, deadline, stop)
            yield ending
            if not ending.alive:
                return
    finally:
        end_kept(process)


def _collect(process: subprocess.Popen, replies: queue.SimpleQueue) -> None:
    with process.stdout as lines:
        for line in lines:
            replies.put(line)
    replies.put(None)


def _ending(
    process: subprocess.Popen,
    replies: queue.SimpleQueue,
    limits: Limits,
    end: float,
    deadline: float,
    stop: threading.Event,
) -> Ending:
    """Waits for the reply to a step, or for a limit."""
    while not stop.is_set():
        with contextlib.suppress(queue.Empty):
            reply = replies.get(timeout=LOOK_EVERY)
            if reply is None:
                return Ending("died", "ended the Python process", alive=False)
            return Ending(**json.loads(reply))
        if excess := _excess(process, limits.memory_mib):
            return excess
        if time.monotonic() >= deadline:
            over = f"the notebook ran longer than {limits.total_timeout:g} s before"
            return Ending("not reached", over, alive=False)
        if time.monotonic() >= end:
            return Ending("timed out", f"ran longer than {limits.cell_timeout:g} s", alive=False)
    raise Stopped


def _excess(process: subprocess.Popen, memory_mib: int) -> Ending | None:
    """Which limit all processes together have exceeded, if any."""
    import psutil

    try:
        processes = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return None
    if len(processes) > MAX_PROCESSES:
        return Ending("died", f"started more than {MAX_PROCESSES} processes", alive=False)
    used = 0
    for one in processes:
        with contextlib.suppress(psutil.Error):
            memory = one.memory_full_info()
            # On Linux, each process's share of what forked processes have in common.
            used += getattr(memory, "pss", memory.uss)
    if used > SLACK * memory_mib * 2**20:
        return Ending("out of memory", alive=False)
    return None
