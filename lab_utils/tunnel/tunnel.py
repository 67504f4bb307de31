"""A link that stays open: it is opened again when its agent dies or the machine has slept, and
closed with the process at the latest."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from lab_utils.tunnel import qr
from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.gate import MARK, Gate
from lab_utils.tunnel.login import Login

if TYPE_CHECKING:
    from PIL import Image

LOOK_SECONDS = 0.5
"""How often it is looked whether the agent still runs."""

SLEPT_SECONDS = 15.0
"""A look that comes so much too late means that the machine has slept."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
_ANSWER_SECONDS = 5.0
_ANSWER_ATTEMPTS = 3


class Way(Protocol):
    """What makes a port of this machine reachable from outside."""

    def open(self, port: int) -> str:
        """The public address; raises TunnelError, or TunnelDownError if trying again may help."""

    def is_running(self) -> bool: ...

    def close(self) -> None: ...


class Tunnel:
    """An open link to an app on this machine; a context manager that closes it.

    Attributes:
        url: the public address; another one after a break, unless its name is reserved.
        user: name that the link asks for; None where it asks for nothing.
        password: its password.
        port: the app's port.
    """

    def __init__(
        self, port: int, way: Way, login: Login | None, tell: Callable[[str], None] = print
    ) -> None:
        self.port = port
        self.user = login.user if login else None
        self.password = login.password if login else None
        self._way, self._tell = way, tell
        self._closing, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._failure: TunnelError | None = None
        self._gate = Gate(port, login)
        try:
            self._gate.start()
            self.url = self._open()
        except BaseException:
            self._gate.stop()
            raise
        self._watch = threading.Thread(target=self._keep_open, name="tunnel watch", daemon=True)
        self._watch.start()

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:  # without the password
        return f"<Tunnel {self.url} -> 127.0.0.1:{self.port}{'' if self.alive() else ' (down)'}>"

    def alive(self) -> bool:
        """Whether the agent or ssh runs; `answers` tells whether the link leads here."""
        return not self._closing.is_set() and self._way.is_running()

    def answers(self) -> bool:
        """Asks the link as a visitor without a password would, and looks who answers."""
        request = urllib.request.Request(self.url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return answer.headers.get(MARK) == self._gate.mark
        except urllib.error.HTTPError as answer:
            return answer.headers.get(MARK) == self._gate.mark
        except (OSError, ValueError):
            return False

    def wait(self) -> None:
        """Returns when the tunnel is closed; raises TunnelError when it cannot stay open."""
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Ends the link; nothing of it is left when this returns. Can be called twice."""
        self._closing.set()
        while self._watch.is_alive():
            self._way.close()  # also what is just being opened again
            self._watch.join(LOOK_SECONDS)
        self._end()

    def qr_text(self) -> str:
        """The link as a QR code for a terminal."""
        return qr.qr_text(self.url)

    def qr_picture(self) -> "Image.Image":
        """The link as a QR code for a notebook."""
        return qr.qr_picture(self.url)

    def _open(self) -> str:
        url = self._way.open(self._gate.port)
        self._gate.open_to(url)
        return url

    def _end(self) -> None:
        with self._lock:
            self._way.close()
            self._gate.stop()
        self._ended.set()

    def _keep_open(self) -> None:
        looked = _clock()
        while not self._closing.wait(LOOK_SECONDS):
            slept, looked = _clock() - looked > SLEPT_SECONDS, _clock()
            if self._way.is_running() and not (slept and not self._still_answers()):
                continue
            try:
                self._reopen()
            except TunnelError as error:
                self._failure = error
                self._closing.set()
                self._end()
                return
            looked = _clock()

    def _still_answers(self) -> bool:
        """After a sleep, the network takes a moment to come back."""
        for _ in range(_ANSWER_ATTEMPTS):
            if self.answers():
                return True
            if self._closing.wait(FIRST_WAIT_SECONDS):
                return True
        return False

    def _reopen(self) -> None:
        """Opens the link again, as often as it takes; raises TunnelError if that cannot work."""
        self._tell("The tunnel broke off; opening it again.")
        for seconds in _waits():
            self._way.close()
            with suppress(TunnelDownError):
                self.url = self._open()
                self._tell(f"The tunnel is open again: {self.url}")
                return
            if self._closing.wait(seconds):
                return


def _waits() -> Iterator[float]:
    seconds = FIRST_WAIT_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, LONGEST_WAIT_SECONDS)


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if boot is None else time.clock_gettime(boot)
