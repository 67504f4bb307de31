"""What makes a port of this machine reachable from outside, and why it may not.

The two ways are programs, which end when this process ends, also by kill -9.
"""

import threading
from collections import deque
from collections.abc import Iterator
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Protocol

from lab_utils.process import end_kept, start_kept
from text_recognizer.errors import RecognizerError

OTHER_WAYS = (
    "without ngrok, `lab app --share` makes a link through Gradio's server, and "
    "`lab tunnel --ssh user@host` through a host of your own."
)


class TunnelError(RecognizerError):
    """The tunnel can't be opened as asked; trying again would not help."""


class TunnelDownError(TunnelError):
    """The tunnel can't be opened now; it may open a little later."""


class Way(Protocol):
    """A way to this machine from outside."""

    def open(self, port: int) -> str:
        """The public address that leads to 127.0.0.1:port.

        Raises TunnelError, or TunnelDownError if it may work a little later.
        """

    def is_running(self) -> bool: ...

    def close(self) -> None: ...


class ProgramWay:
    """A way through a program, which says on one of its streams what becomes of the link."""

    _process: Popen | None = None

    def is_running(self) -> bool:
        """Whether the program runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ends the program; returns when it is gone."""
        process, self._process = self._process, None
        end_kept(process)

    def _run(self, command: list[str], seconds: float, stream: str, **options: Any) -> Iterator:
        """Starts the program and yields its lines until the caller has seen enough of them.

        Args:
            seconds: after them, the program is ended.
            stream: "stdout" or "stderr".
            options: further ones of Popen.
        """
        streams = {"stdout": DEVNULL, "stderr": DEVNULL, stream: PIPE}
        process = start_kept(command, text=True, errors="replace", **streams, **options)
        self._process = process
        lines = getattr(process, stream)
        late = threading.Timer(seconds, end_kept, [process])
        late.start()
        try:
            yield from iter(lines.readline, "")
        finally:
            late.cancel()
            # What comes later is read and dropped: the program would stop at a full pipe.
            threading.Thread(target=deque, args=(lines, 0), daemon=True).start()
