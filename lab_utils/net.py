"""Addresses, ports, servers and clients: the one place for each.

What listens comes from the tracker's package, which must do without this one.
"""

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from lab_tracker.serving import (
    LOOPBACK,
    LocalServer,
    host_name,
    is_local_host,
    is_loopback,
    listening_socket,
)
from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    import httpx

__all__ = [
    "LOOPBACK",
    "DeadlineClient",
    "LocalServer",
    "NetworkError",
    "Reply",
    "ReplyTooLargeError",
    "free_port",
    "host_name",
    "http_client",
    "is_local_host",
    "is_loopback",
    "keep_local_direct",
    "listening_socket",
]


class NetworkError(RecognizerError):
    """A proxy that can't be used."""


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
    event loop in a separate thread. Safe to use from several threads at once, and after a fork.

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
