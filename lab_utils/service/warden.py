"""Runs a command and ends it, with all that it has started, once whoever asked for it is gone.

    python warden.py COMMAND ...

The emulator does not end its runtime when it is killed, and nobody ends the emulator when the
gateway is killed. So this process stands between: its standard input is a pipe that closes with
the gateway, however that ends. It belongs to a session of its own, by which it knows its children.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SECONDS_TO_END = 5.0


def main(command: list[str]) -> int:
    """Returns the command's exit code, or 0 where it was ended because the input closed."""
    libc = ctypes.CDLL(None)
    # Children whose parent died come to this process, where they can be waited for.
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
    """The processes of a session, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name, which may hold anything: state, parent, group, session.
                state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(sid) == session and state != "Z":
                    found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
