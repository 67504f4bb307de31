"""Addresses, ports, servers and clients: the one place for each.

Servers listen on 127.0.0.1 unless the user asks for more. A page of another site can make its own
name resolve to 127.0.0.1 (DNS rebinding) and then read what a local server answers; the Host header
gives it away, which is what `is_local_host` looks at.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    import httpx
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
_START_SECONDS = 120
"""A busy machine takes long to import a server."""


class NetworkError(RecognizerError):
    """A port or an address that can't be used."""


def listening_socket(
    port: int | None = 0,
    host: str = LOOPBACK,
    error: type[Exception] = NetworkError,
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


def free_port(host: str = LOOPBACK) -> int:
    """A port that was free just now, for programs that can't take a socket."""
    with listening_socket(0, host) as listening:
        return listening.getsockname()[1]


def http_client(seconds: float, local: bool = False, **options: Any) -> "httpx.Client":
    """An httpx client whose connecting, sending and waiting may each take `seconds`.

    `local` servers are asked directly: a proxy would look for 127.0.0.1 on its own machine.
    Redirects are not followed.
    """
    import httpx

    with _proxy_errors():
        return httpx.Client(timeout=seconds, trust_env=not local, **options)


@contextlib.contextmanager
def _proxy_errors() -> Iterator[None]:
    """Raises NetworkError for a proxy in the environment of which httpx can't make anything."""
    import httpx

    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise NetworkError(f"The proxy in the environment can't be used: {error}") from None


class Reply(NamedTuple):
    """An HTTP answer of any status."""

    status: int
    headers: "httpx.Headers"
    body: bytes


class ReplyTooLargeError(Exception):
    """The body of an answer has more bytes than were asked for."""


class DeadlineClient:
    """Asks one server under a deadline for the whole exchange; connections are kept.

    httpx limits each operation, not their sum; asyncio limits the sum. So the requests run in one
    event loop in a thread of its own. Safe to use from several threads at once, and after a fork.

    Args:
        connect_seconds: time for a connection, name look-up and TLS included.
        local: ask directly, also where the environment names a proxy.
    """

    def __init__(self, connect_seconds: float, local: bool = False) -> None:
        self._connect_seconds, self._local = connect_seconds, local
        self._lock = threading.Lock()
        self._process: int | None = None

    def post(
        self, url: str, body: bytes, headers: dict[str, str], seconds: float, most_bytes: int
    ) -> Reply:
        """Sends a request and reads its whole answer; redirects are not followed.

        Raises:
            TimeoutError: no whole answer within `seconds`.
            ReplyTooLargeError: the answer's body has more than `most_bytes`.
            httpx.HTTPError, OSError: everything else; httpx.ConnectTimeout for no connection.
        """
        loop, client = self._running()

        async def exchange() -> Reply:
            async with (
                asyncio.timeout(seconds),
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                received = bytearray()
                async for piece in answer.aiter_raw():
                    received += piece
                    if len(received) > most_bytes:
                        raise ReplyTooLargeError
                return Reply(answer.status_code, answer.headers, bytes(received))

        future = asyncio.run_coroutine_threadsafe(exchange(), loop)
        try:
            return future.result()
        except BaseException as error:
            future.cancel()
            if type(error).__module__.startswith("socksio"):  # httpx lets it through
                import httpx

                raise httpx.ProxyError(f"The proxy does not speak SOCKS: {error}") from None
            raise

    def close(self) -> None:
        """Closes the kept connections; the client can still be used."""
        with self._lock:
            if self._process != os.getpid():
                return
            self._process = None
            client, loop = self._client, self._loop
        asyncio.run_coroutine_threadsafe(client.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> "tuple[asyncio.AbstractEventLoop, httpx.AsyncClient]":
        import httpx

        with self._lock:
            if self._process != os.getpid():  # a child must not share its parent's connections
                with _proxy_errors():
                    self._client = httpx.AsyncClient(
                        timeout=httpx.Timeout(None, connect=self._connect_seconds),
                        limits=httpx.Limits(max_keepalive_connections=16, keepalive_expiry=20),
                        verify=ssl.create_default_context(),  # the system's authorities
                        trust_env=not self._local,
                    )
                self._loop = asyncio.new_event_loop()
                name = "http client"
                threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()
                self._process = os.getpid()
            return self._loop, self._client


def keep_local_direct() -> None:
    """Has this process and its children ask what runs on this machine directly.

    With HTTP_PROXY or ALL_PROXY set, clients of libraries would ask the proxy for 127.0.0.1, and
    the proxy looks for it on its own machine.
    """
    for variable in ("NO_PROXY", "no_proxy"):
        names = [name for name in os.environ.get(variable, "").split(",") if name.strip()]
        missing = [name for name in (LOOPBACK, "localhost") if name not in names]
        os.environ[variable] = ",".join(names + missing)


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
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
                **{
                    "lifespan": "off",
                    "loop": "asyncio",
                    "ws": "none",
                    "log_config": None,
                    "access_log": False,
                    "server_header": False,
                    "timeout_graceful_shutdown": 5,
                }
                | options,
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
