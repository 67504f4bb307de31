"""A kernel whose every cell ends in time: interrupted or killed where it must be, watched for the
memory of all its processes, and gone without a trace when it is closed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from queue import Empty
from typing import Any

from lab_authoring.kernel_process import REPLY, REQUEST
from lab_authoring.workplace import Workplace
from lab_utils.process import adopt_orphans
from text_recognizer.errors import RecognizerError

START_TIMEOUT = 60.0
"""s, for a kernel on a busy machine."""
GRACE = 3.0
"""s that a cell has to stop after an interrupt."""
LOOK_EVERY = 0.25
"""s between two looks at the memory."""
SLACK = 1.25
"""One process gets a MemoryError at the limit; all together are killed at this many times it."""
MAX_PROCESSES = 100
MARK = "LAB_GRADED_KERNEL"
"""The variable by which a kernel's processes are found, also those that left its session."""


class GradingError(RecognizerError):
    """Nothing can be graded here, and the message says why."""


@dataclass(frozen=True)
class Ending:
    """How a cell or a check ended."""

    result: str
    """Of a cell: "ok", "failed", "timed out", "out of memory" or "died"; of a check, its result."""
    message: str = ""
    alive: bool = True
    """Whether the kernel, and with it all that was defined, is still there."""


class LimitedKernel:
    """One kernel after another in the same workplace; a context that ends all its processes."""

    def __init__(self, place: Workplace, memory_mib: int) -> None:
        self._place = place
        self._memory_mib = memory_mib
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen | None = None
        self._before: set = set()
        self._client: Any = None

    def __enter__(self) -> "LimitedKernel":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def alive(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Starts a fresh kernel. Raises GradingError if it does not come up."""
        from jupyter_client.blocking import BlockingKernelClient

        self.end()
        adopt_orphans()
        self._before = _children()
        connection = _connection_file(self._place)
        program = [sys.executable, "-m", "lab_authoring.kernel_process"]
        self._process = subprocess.Popen(
            [*program, connection, str(self._memory_mib)],
            cwd=self._place.notebooks,
            # JPY_PARENT_PID: the kernel ends itself if this process is killed.
            env={
                **self._place.environment,
                MARK: self._mark,
                "JPY_PARENT_PID": str(os.getpid()),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._client = BlockingKernelClient(connection_file=connection)
        self._client.load_connection_file()
        # Outputs are not read: nobody subscribes to them, so endless ones are dropped at once.
        self._client.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=False)
        reply = self._reply(self._client.kernel_info(), START_TIMEOUT)
        if isinstance(reply, Ending):
            self.end()
            raise GradingError(
                f"No kernel starts within {self._memory_mib} MiB and {START_TIMEOUT:.0f} s "
                f"(it {reply.result}): give a larger --memory, or look whether "
                "`python -m ipykernel --version` works."
            )

    def execute(self, code: str, seconds: float) -> Ending:
        """Runs a cell for at most so long."""
        reply = self._request(code, seconds)
        if isinstance(reply, Ending):
            return reply
        if not self.alive:
            return Ending("died", "by exit() or quit()", alive=False)
        if reply["status"] == "ok":
            return Ending("ok")
        name, text = str(reply.get("ename", "")), str(reply.get("evalue", ""))
        if name == "MemoryError":
            # Tracebacks keep what filled the memory.
            self.end()
            return Ending("out of memory", alive=False)
        return Ending("failed", f"{name}: {text}" if text else name)

    def check(self, name: str, modules: dict[str, str], seconds: float) -> Ending:
        """Runs the official check of a function: see `kernel_process.check`."""
        request = REQUEST + json.dumps({"name": name, "modules": modules})
        reply = self._request(request, seconds)
        if isinstance(reply, Ending):
            return reply
        answer = reply.get("user_expressions", {}).get(REPLY, {})
        return Ending(str(answer.get("result", "failed")), str(answer.get("message", "")))

    def end(self) -> None:
        """Kills the kernel and every process that it started."""
        process, self._process = self._process, None
        if self._client:
            self._client.stop_channels()
            self._client = None
        if process:
            process.kill()
            _end_all(self._mark, self._before)
            process.wait()

    def _request(self, code: str, seconds: float) -> dict | Ending:
        sent = self._client.execute(code, allow_stdin=False, stop_on_error=False)
        reply = self._reply(sent, seconds)
        if isinstance(reply, Ending):
            lost = not reply.alive
        else:
            # The kernel ends itself in a moment.
            lost = any(one.get("source") == "ask_exit" for one in reply.get("payload", ()))
        if lost:
            self.end()
        return reply

    def _reply(self, sent: str, seconds: float) -> dict | Ending:
        """The content of the reply to the message with the id `sent`, or how it came to none."""
        deadline, look, interrupted = time.monotonic() + seconds, 0.0, False
        while True:
            # Asked before the reply is: an ending process may have sent it.
            ended = self._process.poll() is not None
            with contextlib.suppress(Empty, ValueError):
                message = self._client.get_shell_msg(timeout=0 if ended else LOOK_EVERY)
                if message["parent_header"].get("msg_id") == sent:
                    return Ending("timed out") if interrupted else message["content"]
                continue
            if ended:
                return Ending("died", "the Python process ended", alive=False)
            now = time.monotonic()
            if now >= look:
                look = now + LOOK_EVERY
                if excess := self._excess():
                    return excess
            if now >= deadline and interrupted:
                return Ending("timed out", alive=False)
            if now >= deadline:
                interrupted, deadline = True, now + GRACE
                # As Jupyter does it: the commands that a cell runs are interrupted too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGINT)

    def _excess(self) -> Ending | None:
        """What a limit of all processes together was exceeded by, if any was."""
        import psutil

        used = 0
        try:
            kernel = psutil.Process(self._process.pid)
            processes = [kernel, *kernel.children(recursive=True)]
        except psutil.Error:
            return None
        if len(processes) > MAX_PROCESSES:
            return Ending("died", f"more than {MAX_PROCESSES} processes", alive=False)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                # Linux tells each process its share of what forked processes have in common.
                used += getattr(memory, "pss", memory.uss)
        if used > SLACK * self._memory_mib * 2**20:
            return Ending("out of memory", alive=False)
        return None


def one_line(text: str, most: int = 300) -> str:
    """Text without colours, line breaks and control characters, cut to `most` characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    plain = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def _connection_file(place: Workplace) -> str:
    """A new connection file. The sockets lie beside it: no port is opened, no other user sees
    them."""
    import zmq
    from jupyter_client.connect import write_connection_file

    sockets = str(place.root / uuid.uuid4().hex[:8])
    if len(sockets) + 3 > zmq.IPC_PATH_MAX_LEN:
        raise GradingError(f"The name of {place.root} is too long for sockets: set TMPDIR=/tmp.")
    key = uuid.uuid4().hex.encode()
    file, _ = write_connection_file(f"{sockets}.json", transport="ipc", ip=sockets, key=key)
    return file


def _children() -> set:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _end_all(mark: str, before: set) -> None:
    """Kills what a kernel started, also what was started meanwhile.

    These are the processes with the mark in their environment, and on Linux, where this process
    adopts orphans, all of its descendants that were not there `before`.
    """
    import psutil

    def is_marked(process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == mark
        except (psutil.Error, OSError):  # of another user, or gone
            return False

    for _ in range(20):
        left = _children() - before if sys.platform == "linux" else set()
        left |= {process for process in psutil.process_iter() if is_marked(process)}
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.2)
