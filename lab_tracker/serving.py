"""Addresses, ports and local servers: the lab's one way to listen; it needs nothing of the tracker.

Servers listen on 127.0.0.1 unless the user asks for more. A page of another site can make its own
name resolve to 127.0.0.1 (DNS rebinding) and then read what a local server answers; the Host header
gives it away, which is what `is_local_host` looks at."""

import ipaddress
import os
import socket
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
_START_SECONDS = 120  # a busy machine takes long to import a server


def listening_socket(
    port: int | None = 0,
    host: str = LOOPBACK,
    error: type[Exception] = OSError,
    preferred: int | None = None,
) -> socket.socket:
    """A socket that listens on `port`; 0 takes any free one, None `preferred` or any free one.

    Raises `error` where that can't be: the port is taken, or the address isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port is None:
        try:
            return socket.create_server((host, preferred or 0), family=family)
        except OSError:
            port = 0
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as reason:
        number = getattr(reason, "errno", None)
        why = os.strerror(number) if number and number > 0 else reason
        raise error(f"Port {port} on {host} can't be used ({why}); give another port.") from None


def host_name(host: str) -> str:
    """The name or address in a Host header, without port and brackets, in lower case."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.strip("[]").lower()


def is_loopback(host: str) -> bool:
    """Whether a name or address, without port and brackets, is this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_host(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header holds localhost, one of `names`, or an address in numbers.

    An address in numbers cannot be rebound: no look-up leads from it to another one.
    """
    name = host_name(host)
    try:
        return name == "localhost" or name in names or ipaddress.ip_address(name) is not None
    except ValueError:
        return False


class LocalServer:
    """uvicorn over a socket that listens already; `start` or `run` answers.

    Args:
        name: what the server is, for its thread and its error.
        app: the application.
        listening: the socket; it is closed when the server ends.
        error: what is raised where the server does not start.
        options: further settings of uvicorn.

    Attributes:
        port, url: where it listens.
    """

    def __init__(
        self,
        name: str,
        app: "ASGIApp",
        listening: socket.socket,
        error: type[Exception],
        **options: Any,
    ) -> None:
        import uvicorn

        host, self.port = listening.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._name, self._socket, self._error = name, listening, error
        self._thread: threading.Thread | None = None
        defaults = {
            "lifespan": "off",
            "loop": "asyncio",
            "ws": "none",
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": 5,
        }
        self._server = uvicorn.Server(uvicorn.Config(app, **defaults | options))

    def start(self) -> None:
        """Serves from a separate thread, which ends with the process; returns once it answers."""
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
