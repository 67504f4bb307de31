"""The tracker as a running server: in a thread beside a notebook, or alone in a terminal."""

import ipaddress
import socket
from pathlib import Path

from lab_tracker.errors import TrackingError
from lab_tracker.storage import Store
from lab_utils.net import LocalServer

LOOPBACK = "127.0.0.1"


class TrackingServer(LocalServer):
    """A server over `folder`, listening as soon as it is made, answering after `start` or `run`.

    `port` 0 takes a free one. Raises TrackingError where the folder or the port cannot be used.
    """

    def __init__(self, folder: Path, host: str = LOOPBACK, port: int = 0) -> None:
        from lab_tracker.app import create_app

        self._store = Store(folder)
        try:
            listening = _listen(host, port)
        except BaseException:
            self._store.close()
            raise
        self.folder = self._store.folder
        self.key = self._store.key
        self.port: int = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.pages_are_open = _is_loopback(host)  # elsewhere, they ask for the key
        super().__init__(
            "tracker",
            f"http://{shown}:{self.port}",
            create_app(self._store, host, self.pages_are_open),
            listening,
            TrackingError,
            timeout_keep_alive=120,  # the SDK keeps its connections between two metrics
        )

    def run(self) -> None:
        """Serves until it is stopped."""
        try:
            super().run()
        finally:
            self._store.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrackingError(
            f"The tracker cannot listen on {host}:{port} ({reason}); give it another port."
        ) from None
    listener.listen(128)
    listener.set_inheritable(False)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
