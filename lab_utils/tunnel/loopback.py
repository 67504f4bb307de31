"""A tunnel that ends on this machine: what an agent and its servers do, without a network.

For lessons: the proxy, the password and the app behind a link are the real ones; only the world is
missing. There is no TLS, since nothing leaves the machine.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress

from lab_utils.net import LOOPBACK

NO_AGENT = "ERR_LAB_NO_AGENT"
_AGENT_SECONDS = 1.0
_PIECE_BYTES = 64 * 1024
_PAGE = f"<html><h1>The link is offline</h1>{NO_AGENT}</html>"
_OFFLINE = (
    f"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nLab-Error-Code: {NO_AGENT}\r\n"
    f"Content-Length: {len(_PAGE)}\r\nConnection: close\r\n\r\n{_PAGE}"
).encode()

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task] = set()
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    def result(self, work: Coroutine):
        """What a coroutine returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def in_background(self, work: Coroutine) -> None:
        """Runs a coroutine; called from the loop itself."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel_all(self) -> None:
        """Ends what runs in the background."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class FarEnd:
    """The servers' part: visitors come to `url`, and agents fetch them from `agents`.

    While no agent is there, visitors get an error page of the far end, as at ngrok.
    """

    def __init__(self) -> None:
        self._loop = _Loop("far end")
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self._servers = self._loop.result(self._listen())
        visitors, agents = (server.sockets[0].getsockname()[1] for server in self._servers)
        self.url = f"http://{LOOPBACK}:{visitors}"
        self.agents: tuple[str, int] = (LOOPBACK, agents)

    def close(self) -> None:
        """Takes no more connections, and ends those that wait for a visitor."""
        self._loop.result(self._end())

    async def _listen(self) -> list[asyncio.Server]:
        async def agent(*connection) -> None:
            await self._waiting.put(connection)

        return [await asyncio.start_server(one, LOOPBACK, 0) for one in (self._serve, agent)]

    async def _serve(self, *visitor) -> None:
        with suppress(OSError):
            try:
                agent = await asyncio.wait_for(self._open_agent(), _AGENT_SECONDS)
            except TimeoutError:
                await visitor[0].read(_PIECE_BYTES)
                visitor[1].write(_OFFLINE)
                await visitor[1].drain()
                visitor[1].close()
                return
            await _splice(visitor, agent)

    async def _open_agent(self) -> Connection:
        """A connection on which an agent waits for a visitor."""
        while True:
            agent = await self._waiting.get()
            if not agent[0].at_eof():
                return agent
            agent[1].close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].close()


class LoopbackWay:
    """The agent's part; see `lab_utils.tunnel.program.Way`. All its connections go outwards."""

    def __init__(self, far_end: FarEnd) -> None:
        self._loop = _Loop("loopback agent")
        self._far_end = far_end
        self._running = False

    def open(self, port: int) -> str:
        """Fetches visitors for 127.0.0.1:port from now on; returns the link."""
        self._running = True
        self._loop.result(self._start(port))
        return self._far_end.url

    def is_running(self) -> bool:
        return self._running

    def close(self) -> None:
        """Hangs up on the far end and on all visitors."""
        self._running = False
        self._loop.result(self._loop.cancel_all())

    async def _start(self, port: int) -> None:
        self._loop.in_background(self._fetch(port))

    async def _fetch(self, port: int) -> None:
        """Waits for a visitor on a connection to the far end, and on the next one for the next."""
        with suppress(OSError):
            while True:
                reader, writer = await asyncio.open_connection(*self._far_end.agents)
                try:
                    first = await reader.read(_PIECE_BYTES)
                except asyncio.CancelledError:
                    writer.close()
                    raise
                if not first:
                    writer.close()
                    return
                self._loop.in_background(self._serve((reader, writer), first, port))

    async def _serve(self, visitor: Connection, first: bytes, port: int) -> None:
        try:
            app = await asyncio.open_connection(LOOPBACK, port)
            app[1].write(first)
            await _splice(visitor, app)
        except OSError:
            pass
        finally:
            visitor[1].close()


async def _splice(one: Connection, other: Connection) -> None:
    """Passes bytes on, both ways, until both sides have ended."""
    try:
        await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()
