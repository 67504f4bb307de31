"""A link that stays open: it is opened again when its program dies, and closed with the process at
the latest."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from lab_utils.net import LOOPBACK, http_client, keep_local_direct
from lab_utils.tunnel import qr
from lab_utils.tunnel.auth_proxy import MARK, AuthProxy
from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.login import Login
from lab_utils.tunnel.program import Way

if TYPE_CHECKING:
    from PIL import Image

LOOK_SECONDS = 0.5
"""How often the tunnel looks whether its program still runs."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
_ANSWER_SECONDS = 5.0


class Tunnel:
    """An open link to an app on this machine; a context manager that closes it.

    Attributes:
        url: the public address; another one after a break, unless its name is reserved.
        user: name that the link asks for; None if it asks for nothing.
        password: its password.
        port: the app's port.
    """

    def __init__(
        self, port: int, way: Way, login: Login | None, say: Callable[[str], None] = print
    ) -> None:
        self.port = port
        self.user = login.user if login else None
        self.password = login.password if login else None
        self._way, self._say = way, say
        self._closing, self._ended = threading.Event(), threading.Event()
        self._failure: TunnelError | None = None
        self._proxy = AuthProxy(port, login)
        keep_local_direct()  # pyngrok asks the agent on this machine
        try:
            self._proxy.start()
            self._open()
        except BaseException:
            self._proxy.stop()
            raise
        self._watch = threading.Thread(target=self._keep_open, name="tunnel watch", daemon=True)
        self._watch.start()

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:  # without the password
        return f"<Tunnel {self.url} -> {LOOPBACK}:{self.port}{'' if self.alive() else ' (down)'}>"

    def alive(self) -> bool:
        """Whether the agent or ssh runs; `answers` says whether the link leads here."""
        return not self._closing.is_set() and self._way.is_running()

    def answers(self) -> bool:
        """Asks the link as a visitor without a password would, and looks who answers."""
        with suppress(httpx.HTTPError), http_client(_ANSWER_SECONDS) as client:
            return client.head(self.url).headers.get(MARK) == self._proxy.mark
        return False

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the tunnel is closed, and returns whether it is.

        Raises TunnelError if it can't stay open.
        """
        ended = self._ended.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return ended

    def close(self) -> None:
        """Ends the link; nothing of it is left when this returns. Can be called twice."""
        self._closing.set()
        while self._watch.is_alive():
            self._way.close()  # also what is just being opened again
            self._watch.join(LOOK_SECONDS)

    def qr_text(self) -> str:
        """The link as a QR code for a terminal."""
        return qr.qr_text(self.url)

    def qr_picture(self) -> "Image.Image":
        """The link as a QR code for a notebook."""
        return qr.qr_picture(self.url)

    def _open(self) -> None:
        self.url = self._way.open(self._proxy.port)
        self._proxy.open_to(self.url)

    def _keep_open(self) -> None:
        """Runs in a separate thread until the tunnel is closed, and then ends all of it."""
        try:
            while not self._closing.wait(LOOK_SECONDS):
                if not self._way.is_running():
                    self._reopen()
        except TunnelError as error:
            self._failure = error
            self._closing.set()
        finally:
            self._way.close()
            self._proxy.stop()
            self._ended.set()

    def _reopen(self) -> None:
        """Opens the link again, as often as it takes; raises TunnelError if that can't work."""
        self._say("The tunnel broke off; opening it again.")
        wait = FIRST_WAIT_SECONDS
        while not self._closing.is_set():
            self._way.close()
            with suppress(TunnelDownError):
                self._open()
                self._say(f"The tunnel is open again: {self.url}")
                return
            self._closing.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
