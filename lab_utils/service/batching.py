"""Lets requests into a batching queue one generation at a time, so that batches grow while the
model is busy, and not only while requests happen to come within a few milliseconds."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Generations:
    """A gate before `@serve.batch`, for one event loop.

    `@serve.batch` takes the requests out of its queue when its wait is over, also while an earlier
    batch still runs. With 300 ms a page, 10 ms of wait and a page every 100 ms, each page would go
    into a batch of its own. Here, whoever comes while a generation is worked on waits at the gate,
    and when its last member has left, the next generation enters at once: as many as a batch takes.

        async with gate.member():
            reading = await self._read_batch(page)

    Args:
        size: requests in a generation, at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._inside = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many stand before the gate."""
        return sum(not turn.done() for turn in self._waiting)

    def close(self) -> None:
        """Lets nobody more into this generation: its batch begins."""
        self._closed = True

    @asynccontextmanager
    async def member(self) -> AsyncIterator[None]:
        """Waits for a place in a generation, and holds it."""
        if self._closed or self._inside >= self.size or self.waiting:
            await self._turn()
        else:
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Whoever gives up at the moment of being let in has taken a place already.
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside:
            return
        self._closed = False
        while self._waiting and self._inside < self.size:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._inside += 1
