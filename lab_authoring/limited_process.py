"""A process for a student's code in which every cell ends in time: it is interrupted or killed when
it must be, all its processes' memory is watched, and none of them outlives it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from lab_authoring.workplace import Workplace
from lab_utils.process import adopt_orphans
from text_recognizer.errors import RecognizerError

START_TIMEOUT = 60.0
"""s, for a start on a busy machine."""
GRACE = 3.0
"""s that a cell has to stop after an interrupt."""
LOOK_EVERY = 0.25
"""s between two looks at the memory."""
SLACK = 1.25
"""One process gets a MemoryError at the limit; all together are killed at this many times it."""
MAX_PROCESSES = 100


class GradingError(RecognizerError):
    """Nothing can be graded here, and the message says why."""


@dataclass(frozen=True)
class Ending:
    """How a cell or a check ended."""

    result: str
    """Of a cell: "ok", "failed", "timed out", "out of memory" or "died"; of a check, its result."""
    message: str = ""
    alive: bool = True
    """Whether the process, and with it all that was defined, is still there."""


class LimitedProcess:
    """One process after another in the same workplace; a context that ends all of them."""

    def __init__(self, place: Workplace, memory_mib: int, checks: str) -> None:
        """`checks` is the name of the module of checks, whose calls in cells do nothing."""
        self._place = place
        self._memory_mib = memory_mib
        self._checks = checks
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None
        self._before: set = set()

    def __enter__(self) -> "LimitedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Starts a fresh process. Raises GradingError if it does not come up."""
        self.end()
        adopt_orphans()
        self._before = _children()
        self._connection, other = Pipe()
        with other:
            program = [sys.executable, "-m", "lab_authoring.student_process"]
            self._process = subprocess.Popen(
                [*program, str(other.fileno()), str(self._memory_mib), self._checks],
                cwd=self._place.notebooks,
                env=self._place.environment,
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        ending = self.execute("pass", START_TIMEOUT)
        if ending.result != "ok":
            self.end()
            raise GradingError(
                f"IPython does not start within {self._memory_mib} MiB and {START_TIMEOUT:.0f} s "
                f"(result: {ending.result}): give a larger --memory, or see whether "
                "`python -m IPython --version` works."
            )

    def execute(self, code: str, seconds: float) -> Ending:
        """Runs a cell for at most this long."""
        ending = self._request({"code": code}, seconds)
        if ending.result == "out of memory" and ending.alive:
            self.end()  # tracebacks keep what filled the memory
            return Ending("out of memory", alive=False)
        return ending

    def check(self, name: str, modules: dict[str, str], seconds: float) -> Ending:
        """Runs the official check of a function: see `student_process.check`."""
        return self._request({"name": name, "modules": modules}, seconds)

    def end(self) -> None:
        """Kills the process and every process that it started."""
        process, self._process = self._process, None
        if process:
            self._connection.close()
            process.kill()
            _end_all(self._place, self._before)
            process.wait()

    def _request(self, request: dict[str, Any], seconds: float) -> Ending:
        with contextlib.suppress(ConnectionError):  # it has died: the reply says so
            self._connection.send_bytes(json.dumps(request).encode())
        ending = self._reply(seconds)
        if not ending.alive:
            self.end()
        return ending

    def _reply(self, seconds: float) -> Ending:
        deadline, interrupted = time.monotonic() + seconds, False
        while True:
            # Asked before the reply is: an ending process may have sent it.
            ended = self._process.poll() is not None
            if self._connection.poll(0 if ended else LOOK_EVERY):
                with contextlib.suppress(EOFError, ConnectionError):
                    reply = json.loads(self._connection.recv_bytes())
                    return Ending("timed out") if interrupted else Ending(**reply)
                ended = True
            if ended:
                return Ending("died", "ended the Python process", alive=False)
            if excess := self._excess():
                return excess
            if time.monotonic() >= deadline:
                if interrupted:
                    return Ending("timed out", alive=False)
                interrupted, deadline = True, time.monotonic() + GRACE
                # As Jupyter does it: the commands that a cell runs are interrupted too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGINT)

    def _excess(self) -> Ending | None:
        """Which limit of all processes together was exceeded, if any was."""
        import psutil

        used = 0
        try:
            first = psutil.Process(self._process.pid)
            processes = [first, *first.children(recursive=True)]
        except psutil.Error:
            return None
        if len(processes) > MAX_PROCESSES:
            return Ending("died", f"started more than {MAX_PROCESSES} processes", alive=False)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                # On Linux, each process's share of what forked processes have in common.
                used += getattr(memory, "pss", memory.uss)
        if used > SLACK * self._memory_mib * 2**20:
            return Ending("out of memory", alive=False)
        return None


def _children() -> set:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _end_all(place: Workplace, before: set) -> None:
    """Kills what ran in a workplace, also what was started meanwhile.

    On Linux, where this process adopts orphans, these are all of its descendants that were not
    there `before`; elsewhere, the processes with the workplace in their environment.
    """
    import psutil

    def runs_here(process: psutil.Process) -> bool:
        try:
            return process.environ().get("LAB_HOME") == place.environment["LAB_HOME"]
        except (psutil.Error, OSError):  # of another user, or gone
            return False

    for _ in range(20):
        if sys.platform == "linux":
            left = _children() - before
        else:
            left = {process for process in psutil.process_iter() if runs_here(process)}
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)
