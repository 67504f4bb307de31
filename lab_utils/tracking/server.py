"""The tracker as a running server: in a thread beside a notebook, or alone in a terminal."""

import ipaddress
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.tracking.errors import TrackingError
from lab_utils.tracking.storage import Store

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
_START_SECONDS = 20


class TrackingServer:
    """A server over `folder`, listening as soon as it is made, answering after `start` or `run`.

    `port` 0 takes a free one. Raises TrackingError where the folder or the port cannot be used.
    """

    def __init__(self, folder: Path, host: str = LOOPBACK, port: int = 0) -> None:
        self._store = Store(folder)
        try:
            self._socket = _listen(host, port)
        except BaseException:
            self._store.close()
            raise
        self.folder = self._store.folder
        self.key = self._store.key
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self.pages_are_open = _is_loopback(host)  # elsewhere, they ask for the key
        self._server = self._uvicorn(host)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serves from a thread of its own, which ends with the process; returns once it answers."""
        self._thread = threading.Thread(target=self.run, name="tracker", daemon=True)
        self._thread.start()
        for _ in range(_START_SECONDS * 100):
            if self._server.started:
                return
            self._thread.join(0.01)
            if not self._thread.is_alive():
                break
        raise TrackingError(f"The tracker at {self.url} did not start; see the log above.")

    def run(self) -> None:
        """Serves until it is stopped."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._store.close()

    def stop(self) -> None:
        """Ends the thread, once the requests under way are answered."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join()

    def _uvicorn(self, host: str) -> "uvicorn.Server":
        import uvicorn

        from lab_utils.tracking.app import create_app

        app = create_app(self._store, host, self.pages_are_open)
        config = uvicorn.Config(
            app,
            lifespan="off",
            loop="asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=120,  # the SDK keeps its connections between two metrics
            timeout_graceful_shutdown=5,
        )
        return uvicorn.Server(config)


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
