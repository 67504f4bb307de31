"""Ctrl-C, SIGTERM and SIGHUP end the program in order: as KeyboardInterrupt in the main thread.

So folders are removed and children ended on the way out, whichever of them it is.
"""

import signal
import sys
import threading
from types import FrameType
from typing import Any

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a program from outside."""

_IMPORTS = "<frozen importlib._bootstrap>"
_SECONDS = 0.2


class orderly_end:  # noqa: N801, a context manager
    """Turns the signals into KeyboardInterrupt inside the block; `number` says which came.

    A signal that was ignored before, as by `nohup`, stays so. Only the main thread can do this, and
    only the outermost block does: within the command `lab`, that is the command's.

    Where SIGTERM or SIGHUP ends the block, SystemExit with 128 and its number leaves it. So it is
    if an error leaves it after a signal: libraries turn the interrupt into an error.

    C code that imports a module may lose an exception that is raised there, or abort. So a signal
    that comes during an import is raised when that is over; the second one is raised at once. And
    what is lost all the same, as in a library's bare `except:`, is raised until it is handled.
    """

    def __init__(self) -> None:
        self.number = 0
        self._is_over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "orderly_end":
        if threading.current_thread() is threading.main_thread() and not _is_orderly():
            numbers = [one for one in ENDING_SIGNALS if signal.getsignal(one) != signal.SIG_IGN]
            if numbers:
                # Before any signal can come: PyTorch Lightning puts back all handlers that it
                # found, and a tick without one would kill.
                self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._again)
            for number in numbers:
                self._before[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop_alarm()
        for number, handler in reversed(self._before.items()):
            signal.signal(number, handler)
        is_lost = kind is not None and issubclass(kind, Exception)
        if self.number and (is_lost or kind is KeyboardInterrupt):
            if self.number != signal.SIGINT:
                raise SystemExit(128 + self.number) from None
            if is_lost:
                raise KeyboardInterrupt from None

    def stop_alarm(self) -> None:
        """Ends the raising again; a tick after Python has let go of its handlers would kill."""
        self._is_over = True
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_first, self.number = not self.number, number
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        if not (is_first and _is_importing(frame)):
            raise KeyboardInterrupt

    def _again(self, _number: int, frame: FrameType | None) -> None:
        if self._is_over:
            return
        waits = _is_importing(frame) or _is_handled(sys.exception())
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)  # last: no tick meets the one before it
        if not waits:
            raise KeyboardInterrupt


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


def _is_handled(error: BaseException | None) -> bool:
    """Whether code is under way that cleans up after the interrupt."""
    asyncio = sys.modules.get("asyncio")  # its tasks are cancelled, and then clean up
    ending = (KeyboardInterrupt, SystemExit, *([asyncio.CancelledError] if asyncio else []))
    while error is not None:
        if isinstance(error, ending):
            return True
        error = error.__context__
    return False
