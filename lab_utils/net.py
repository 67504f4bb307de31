"""Addresses, ports, servers and clients: the one place for each.

What listens comes from the tracker's package, which must do without this one.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from lab_tracker.serving import LOOPBACK, listening_socket
from lab_tracker.serving import LocalServer as LocalServer
from lab_tracker.serving import host_name as host_name
from lab_tracker.serving import is_local_host as is_local_host
from lab_tracker.serving import is_loopback as is_loopback
from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    import httpx


class NetworkError(RecognizerError):
    """A proxy or a client that can't be used."""


def free_port(port: int | None = 0, error: type[Exception] = OSError) -> int:
    """A port that was free just now, for programs that can't take a socket; arguments as those of
    `listening_socket`."""
    with listening_socket(port, error=error) as listening:
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


_CLOSED = "This reader's connections are closed; make a new one."


class DeadlineClient:
    """Asks one server under a deadline for the whole exchange; connections are kept.

    httpx limits each operation, not their sum; asyncio limits the sum. So the requests run in one
    event loop in a separate thread. Safe to use from several threads at once, and after a fork.

    Args:
        connect_seconds: time for a connection, name look-up and TLS included.
        local: ask directly, also where the environment names a proxy.

    Raises NetworkError for a proxy that can't be used.
    """

    def __init__(self, connect_seconds: float, local: bool = False) -> None:
        self._connect_seconds, self._local = connect_seconds, local
        self._closed = False
        self._own = self._start()

    def _start(self) -> "tuple[int, asyncio.AbstractEventLoop, httpx.AsyncClient]":
        """This process with a loop that runs in it and the loop's client."""
        import httpx

        with _proxy_errors():
            client = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=self._connect_seconds),
                limits=httpx.Limits(max_keepalive_connections=16, keepalive_expiry=20),
                verify=ssl.create_default_context(),  # the system's authorities
                trust_env=not self._local,
            )
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="http client", daemon=True).start()
        return os.getpid(), loop, client

    def post(
        self, url: str, body: bytes, headers: dict[str, str], seconds: float, most_bytes: int
    ) -> Reply:
        """Sends a request and reads its whole answer; redirects are not followed.

        Raises:
            NetworkError: the client is closed.
            TimeoutError: no whole answer within `seconds`.
            ReplyTooLargeError: the answer's body has more than `most_bytes`.
            httpx.HTTPError, OSError: everything else; httpx.ConnectTimeout for no connection.
        """
        if self._closed:
            raise NetworkError(_CLOSED)
        if self._own[0] != os.getpid():
            # A fork has no thread that runs the loop, and must not share its parent's connections.
            # No lock, which the parent may have held: at worst two threads each start a loop.
            self._own = self._start()
        _, loop, client = self._own

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
            if self._closed:  # meanwhile; what began before that is ended by `close`
                raise NetworkError(_CLOSED)
            return future.result()
        except concurrent.futures.CancelledError:
            raise NetworkError(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Closes the kept connections and ends open requests; can be called twice."""
        was_closed, self._closed = self._closed, True
        process, loop, client = self._own
        if was_closed or process != os.getpid():
            return

        async def end() -> None:
            requests = asyncio.all_tasks() - {asyncio.current_task()}
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)
            await client.aclose()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)


def keep_local_direct() -> None:
    """Has this process and its children ask what runs on this machine directly.

    With HTTP_PROXY or ALL_PROXY set, clients of libraries would ask the proxy for 127.0.0.1, and
    the proxy looks for it on its own machine.
    """
    for variable in ("NO_PROXY", "no_proxy"):
        names = [name for name in os.environ.get(variable, "").split(",") if name.strip()]
        missing = [name for name in (LOOPBACK, "localhost") if name not in names]
        os.environ[variable] = ",".join(names + missing)
