"""The open connections of a server that strangers reach, and which of them may stay.

uvicorn gives a connection that sends nothing all the time it wants, and with `limit_concurrency`
such connections soon keep everybody else out. Here each gets a few seconds for a request's head,
and when there are too many, the oldest that hasn't logged in makes room, else one that is idle.
Where all are logged in and in use, none is dropped, and the new one is told to come again.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0
"""Time for the whole head of a request, from its first byte or from the connection's start."""


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, with a deadline for each request's head.

    Args:
        connections: the server's open connections by their visitors' addresses, oldest first; this
            one is in it from its start to its end, or until it makes room.
        options: uvicorn's.

    Attributes:
        let_in: whether its last request was passed on to the app.
        busy: whether a request is being answered.
        comes_too_late: whether all others were logged in and busy when it came.
    """

    def __init__(self, connections: "dict[tuple[str, int], Connection]", **options: Any) -> None:
        super().__init__(**options)
        self.let_in = self.busy = self.comes_too_late = False
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        while len(self._connections) >= MOST_CONNECTIONS:
            others = self._connections.values()
            spared = min(others, key=lambda other: (other.let_in, other.busy))
            if spared.let_in and spared.busy:
                break
            del self._connections[spared.client]
            spared.drop()
        self.comes_too_late = len(self._connections) >= MOST_CONNECTIONS
        self._connections[self.client] = self
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        # Also what is left of a body after its request has been answered.
        if not self.busy and self._deadline is None:
            self._expect_head()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._connections.get(self.client) is self:
            del self._connections[self.client]
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
