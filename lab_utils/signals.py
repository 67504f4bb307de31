"""Ctrl-C, SIGTERM and SIGHUP end the program in order: as KeyboardInterrupt in the main thread.

So folders are removed and children ended on the way out, whichever of them it is.
"""

import signal
import threading
from types import FrameType
from typing import Any

ENDING_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""What ends a program from outside; Windows has no SIGHUP."""

_IMPORTS = "<frozen importlib._bootstrap>"
_SECONDS = 0.05


class orderly_end:  # noqa: N801, a context manager
    """Turns the signals into KeyboardInterrupt inside the block; `number` says which came.

    A signal that was ignored before, as by `nohup`, stays so. Only the main thread can do this, and
    only the outermost block does: within the command `lab`, that is the command's.

    Where SIGTERM or SIGHUP ends the block, SystemExit with 128 and its number leaves it.

    C code that imports a module may lose an exception that is raised there, and the program would
    start all the same, or abort. So a signal that comes during an import is raised when that is
    over; the second one is raised at once.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "orderly_end":
        if threading.current_thread() is threading.main_thread() and not _is_orderly():
            for number in ENDING_SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if hasattr(signal, "SIGALRM") and signal.SIGALRM in self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is KeyboardInterrupt and self.number not in (0, signal.SIGINT):
            raise SystemExit(128 + self.number) from None

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_first, self.number = not self.number, number
        if is_first and _is_importing(frame) and hasattr(signal, "setitimer"):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        else:
            raise KeyboardInterrupt

    def _look(self, _number: int, frame: FrameType | None) -> None:
        """Raises once the import is over; till then, looks again."""
        if not _is_importing(frame):
            raise KeyboardInterrupt
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)


def ignore_signals() -> None:
    """Ignores what would end this process, so that nothing cuts its cleaning up off."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _is_orderly() -> bool:
    handlers = [signal.getsignal(number) for number in ENDING_SIGNALS]
    return any(isinstance(getattr(one, "__self__", None), orderly_end) for one in handlers)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False
