"""The tracker as a running server: in a thread beside a notebook, or by itself in a terminal."""

import shlex
from pathlib import Path

from lab_tracker.app import create_app
from lab_tracker.errors import TrackingError
from lab_tracker.serving import LocalServer, listening_socket
from lab_tracker.storage import Store
from lab_tracker.worker import Worker


class TrackingServer(LocalServer):
    """A server over `folder`, only for this machine. It listens as soon as it is made, and answers
    after `start` or `run`.

    `port` 0 takes a free one. Raises TrackingError if the folder or the port can't be used.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._store = Store(folder)
        try:
            listening = listening_socket(port, error=TrackingError)
        except BaseException:
            self._store.close()
            raise
        self.folder, self.key = self._store.folder, self._store.key
        self._workers = Worker("tracker-database"), Worker("tracker-files")
        super().__init__(
            "tracker",
            create_app(self._store, *self._workers),
            listening,
            TrackingError,
            timeout_keep_alive=120,  # the SDK keeps its connections between two metrics
        )

    def run(self) -> None:
        """Serves until it is stopped, or by Ctrl-C in the main thread."""
        try:
            super().run()
        finally:
            for worker in self._workers:
                worker.stop()
            self._store.close()


def serve(folder: Path, port: int = 8080) -> None:
    """Serves in a terminal until Ctrl-C, after printing how programs reach the tracker."""
    server = TrackingServer(folder, port)
    print(f"The tracker's page: {server.url}")
    print("To track a program's runs here, set these before it starts:")
    print(f"  export WANDB_BASE_URL={shlex.quote(server.url)}")
    print(f"  export WANDB_API_KEY={server.key}")
    print("Press Ctrl-C to stop it; the data stays.", flush=True)
    server.run()
