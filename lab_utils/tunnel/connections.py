"""The open connections of a server that strangers reach, and which of them may stay.

uvicorn gives a connection that sends nothing all the time it wants, and with `limit_concurrency`
such connections soon keep everybody else out. Here each gets a few seconds for a request's head,
and when there are too many, the oldest that hasn't logged in makes room.
"""

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0
"""Time for the whole head of a request, from its first byte or from the connection's start."""


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with a deadline for each request's head.

    Attributes:
        let_in: whether its last request was passed on to the app.
        busy: whether a request is being answered.
    """

    def __init__(self, connections: "Connections", **options: Any) -> None:
        super().__init__(**options)
        self.let_in = self.busy = False
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._connections.add(self)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        # Also what is left of a body after its request has been answered.
        if not self.busy and self._deadline is None:
            self._expect_head()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._connections.remove(self)
        super().connection_lost(exc)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the app answers a request, no deadline runs."""
        self._stop_clock()
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    def drop(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    def _expect_head(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.drop)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Connections:
    """Those of one server, oldest first; give `protocol` to uvicorn as its `http`."""

    def __init__(self) -> None:
        self.protocol = functools.partial(Connection, self)
        self._open: dict[tuple[str, int], Connection] = {}

    @property
    def full(self) -> bool:
        """Whether there are too many, and all others have logged in and are in use."""
        return len(self._open) > MOST_CONNECTIONS

    def of(self, scope: Scope) -> Connection | None:
        """The connection of an ASGI request; None if it had to make room."""
        return self._open.get(scope["client"])

    def add(self, one: Connection) -> None:
        """Takes a new one; the one that can best be spared is dropped where there are too many."""
        if len(self._open) >= MOST_CONNECTIONS:
            others = sorted(self._open.values(), key=lambda other: other.let_in)
            spared = next((other for other in others if not (other.let_in and other.busy)), None)
            if spared is not None:
                self.remove(spared)
                spared.drop()
        self._open[one.client] = one

    def remove(self, one: Connection) -> None:
        """Forgets one that has ended; can be called twice."""
        if self._open.get(one.client) is one:
            del self._open[one.client]

    def drop_all(self) -> None:
        """Ends all of them, from any thread."""
        for one in list(self._open.values()):
            with suppress(RuntimeError):  # the loop has ended, and they with it
                one.loop.call_soon_threadsafe(one.drop)
