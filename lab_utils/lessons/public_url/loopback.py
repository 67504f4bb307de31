"""A tunnel that ends on this machine: what an agent and its servers do, without a network.

The proxy, the password and the app behind the link are the real ones; only the world is missing.
There is no TLS, since nothing leaves the machine.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

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


class FarEnd:
    """The servers' part: visitors come to `url`, and agents fetch them from `agents`.

    While there is no agent, visitors get an error page of the far end, as at ngrok.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="far end", daemon=True).start()
        self._waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self._servers = [
            self.run(asyncio.start_server(meet, LOOPBACK, 0))
            for meet in (self._meet_visitor, lambda *agent: self._waiting.put_nowait(agent))
        ]
        ports = [server.sockets[0].getsockname()[1] for server in self._servers]
        self.url = f"http://{LOOPBACK}:{ports[0]}"
        self.agents: tuple[str, int] = (LOOPBACK, ports[1])

    def run(self, work: Coroutine) -> Any:
        """The result of a coroutine, which runs in the far end's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Takes no more connections, and ends those that wait for a visitor."""
        self.run(self._end())

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].close()

    async def _meet_visitor(self, *visitor: Any) -> None:
        try:
            agent = await asyncio.wait_for(self._open_agent(), _AGENT_SECONDS)
        except TimeoutError:
            await visitor[0].read(_PIECE_BYTES)
            visitor[1].write(_OFFLINE)
            visitor[1].close()
            return
        await _join(visitor, agent)

    async def _open_agent(self) -> Connection:
        """A connection on which an agent waits for a visitor."""
        while (agent := await self._waiting.get())[0].at_eof():
            agent[1].close()
        return agent


class LoopbackWay:
    """The agent's part; see `lab_utils.tunnel.way.Way`. All its connections go outwards."""

    def __init__(self, far_end: FarEnd) -> None:
        self._far_end = far_end
        self._fetching: asyncio.Task | None = None

    def open(self, port: int) -> str:
        """Fetches visitors for 127.0.0.1:port from now on; returns the link."""
        self._far_end.run(self._start(port))
        return self._far_end.url

    def is_running(self) -> bool:
        return self._fetching is not None

    def close(self) -> None:
        """Hangs up on the far end and on all visitors; returns when that is done."""
        self._far_end.run(self._stop())

    async def _start(self, port: int) -> None:
        self._fetching = asyncio.create_task(self._fetch(port))

    async def _stop(self) -> None:
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def _fetch(self, port: int) -> None:
        """Waits for a visitor on a connection to the far end, and for the next one on the next."""
        async with asyncio.TaskGroup() as visits:
            first = b"-"
            while first:
                visitor = await asyncio.open_connection(*self._far_end.agents)
                try:
                    first = await visitor[0].read(_PIECE_BYTES)
                except BaseException:
                    visitor[1].close()
                    await visitor[1].wait_closed()
                    raise
                visits.create_task(self._serve(visitor, first, port))

    async def _serve(self, visitor: Connection, first: bytes, port: int) -> None:
        try:
            app = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            visitor[1].close()
            return
        app[1].write(first)
        await _join(visitor, app)


async def _join(one: Connection, other: Connection) -> None:
    """Passes bytes on, both ways, until both sides have ended."""
    try:
        await asyncio.gather(_pump(one[0], other[1]), _pump(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, RuntimeError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
