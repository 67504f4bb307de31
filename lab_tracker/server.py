"""The tracker as a running server: in a thread beside a notebook, or by itself in a terminal."""

import ipaddress
import shlex
import socket
import threading
from pathlib import Path

import uvicorn

from lab_tracker.app import create_app
from lab_tracker.errors import TrackingError
from lab_tracker.storage import Store
from lab_tracker.worker import Worker

LOOPBACK = "127.0.0.1"
_START_SECONDS = 120  # a busy machine may take long


class TrackingServer:
    """A server over `folder`. It listens as soon as it is made, and answers after `start` or `run`.

    `port` 0 takes a free one. Raises TrackingError if the folder or the port can't be used.
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
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.pages_are_open = _is_loopback(host)  # otherwise they ask for the key
        self._workers = Worker("tracker-database"), Worker("tracker-files")
        self._thread: threading.Thread | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(self._store, *self._workers, host, self.pages_are_open),
                lifespan="off",
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                timeout_keep_alive=120,  # the SDK keeps its connections between two metrics
            )
        )

    def start(self) -> None:
        """Serves from a thread that ends with the process; returns once it answers."""
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
        """Serves until it is stopped, or by Ctrl-C in the main thread."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            for worker in self._workers:
                worker.stop()
            self._store.close()

    def stop(self) -> None:
        """Ends the thread once the requests under way are answered."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join()
        self._socket.close()


def serve(folder: Path, host: str = LOOPBACK, port: int = 8080) -> None:
    """Serves in a terminal until Ctrl-C, after printing how programs reach the tracker."""
    server = TrackingServer(folder, host, port)
    print(f"The tracker's page: {server.url}")
    print("To track a program's runs here, set these before it starts:")
    print(f"  export WANDB_BASE_URL={shlex.quote(server.url)}")
    print(f"  export WANDB_API_KEY={server.key}")
    if not server.pages_are_open:
        print("The page asks for a name and a password: any name, and this key.")
    print("Press Ctrl-C to stop it; the data stays.", flush=True)
    server.run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrackingError(
            f"The tracker cannot listen on {host}:{port} ({reason}); give it another port."
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
