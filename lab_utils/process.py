"""Programs that end when this process ends, however that happens, with all that they started.

    with kept([program, ...], stdout=...) as process: ...

On Linux, `kept` puts a watchdog between: this file, run as a program. Its standard input is a pipe
that closes when our process dies, also by kill -9. It then kills its session, which holds the
program and all of its children. Elsewhere the program is only ended in the usual ways.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SECONDS_TO_END = 5.0
_WATCHDOG_SECONDS = 10.0


def start_kept(command: list[str], **options: Any) -> subprocess.Popen:
    """Starts a program that ends with this process; end it with `end_kept`.

    It gets its own session, so the terminal's Ctrl-C does not reach it. `options` are Popen's,
    except stdin and start_new_session.
    """
    if sys.platform == "linux":
        # -I -S: the watchdog needs nothing but the standard library, and starts in 10 ms.
        command = [sys.executable, "-I", "-S", __file__, *command]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **options)


def end_kept(process: subprocess.Popen | None) -> None:
    """Ends a program of `start_kept` and all that it started; returns when they are gone."""
    if process is None:
        return
    process.stdin.close()  # what the watchdog waits for
    if sys.platform != "linux":
        process.terminate()
    try:
        process.wait(_WATCHDOG_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def kept(command: list[str], **options: Any) -> Iterator[subprocess.Popen]:
    """A program that runs inside the block, and never longer than this process."""
    process = start_kept(command, **options)
    try:
        yield process
    finally:
        end_kept(process)


def main(command: list[str]) -> int:
    """Returns the command's exit code, or 0 where it was ended because the input closed."""
    libc = ctypes.CDLL(None)
    # Descendants whose parent died become children of this process, not of init.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child = None
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # Should this process be killed, its child is as well.
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
            selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ)
            selector.select()
        return child.poll() or 0
    finally:
        end_session()


def end_session() -> None:
    """Kills every other process of this session and waits until none is left."""
    deadline = time.monotonic() + _SECONDS_TO_END
    own = os.getpid()
    while (
        others := [pid for pid in session_members(own) if pid != own]
    ) and time.monotonic() < deadline:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)


def session_members(session: int) -> list[int]:
    """The processes of a session and their descendants, which may have left it; no zombies."""
    parents, found = {}, set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name, which may hold anything: state, parent, group, session.
                state, parent, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if state != "Z":
                    parents[int(folder.name)] = int(parent)
                    found |= {int(folder.name)} if int(sid) == session else set()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
