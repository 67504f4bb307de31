"""A web application as a server on this machine: in a thread beside a notebook, or alone."""

import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_START_SECONDS = 20


class LocalServer:
    """uvicorn over a socket that listens already; `start` or `run` answers.

    Args:
        name: what the server is, for its thread and its error.
        url: its address, for its error.
        app: the application.
        listening: the socket; it is closed when the server ends.
        error: what is raised where the server does not start.
        options: further settings of uvicorn.
    """

    def __init__(
        self,
        name: str,
        url: str,
        app: "ASGIApp",
        listening: socket.socket,
        error: type[Exception],
        **options: Any,
    ) -> None:
        import uvicorn

        self.url = url
        self._name, self._socket, self._error = name, listening, error
        self._thread: threading.Thread | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                **options,
            )
        )

    def start(self) -> None:
        """Serves from a thread of its own, which ends with the process; returns once it answers."""
        self._thread = threading.Thread(target=self.run, name=self._name, daemon=True)
        self._thread.start()
        for _ in range(_START_SECONDS * 100):
            if self._server.started:
                return
            self._thread.join(0.01)
            if not self._thread.is_alive():
                break
        raise self._error(f"The {self._name} at {self.url} did not start; see the log above.")

    def run(self) -> None:
        """Serves until it is stopped, or by Ctrl-C in the main thread."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Ends the thread, once the requests under way are answered."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join()
        self._socket.close()
