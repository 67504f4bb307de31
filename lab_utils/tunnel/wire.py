"""HTTP/1.1 over a stream, one message after the other: h11 does the framing on both sides of the
gate, so that what one side takes for the end of a request is what the other side does, too."""

import asyncio
import contextlib
import socket
from typing import Any

import h11

PIECE_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 64 * 1024


class Wire:
    """One connection. `role` is this side's: h11.SERVER towards visitors, h11.CLIENT to the app.

    It reads and writes the socket itself: asyncio's streams take a failed write for the end of the
    connection, and lose the answer of an app that refuses the rest of a request.
    """

    def __init__(self, connection: socket.socket, role: type) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.state = h11.Connection(role, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._socket = connection
        self._wants_body = True

    async def connect(self, address: tuple[str, int]) -> None:
        await asyncio.get_running_loop().sock_connect(self._socket, address)

    async def receive(self) -> Any:
        """The next event; h11.PAUSED between two messages, also before a switch of protocols."""
        while (event := self.state.next_event()) is h11.NEED_DATA:
            if self.state.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.state.receive_data(await self.take_raw())
        if isinstance(event, h11.Request):
            self._wants_body = event.method != b"HEAD"
        return event

    async def send(self, event: Any) -> None:
        """Sends an event, no faster than the other side takes it; no body to who asked for none."""
        if isinstance(event, h11.Data) and not self._wants_body:
            return
        for piece in self.state.send_with_data_passthrough(event) or ():
            await self.send_raw(piece)

    async def left(self) -> None:
        """Returns when the other side has hung up; takes nothing of what it sends before that."""
        await self._readable()
        if self._socket.recv(1, socket.MSG_PEEK):
            await asyncio.Event().wait()  # its next request; writing will tell when it has left

    async def take_raw(self) -> bytes:
        """Bytes as they come; empty at their end. Takes none when it is cancelled."""
        await asyncio.sleep(0)  # other connections have their turn, too
        while True:
            try:
                return self._socket.recv(PIECE_BYTES)
            except BlockingIOError:
                await self._readable()

    async def _readable(self) -> None:
        # Not loop.sock_recv: what that has read when it is cancelled is lost.
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._socket)

    async def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def end_raw(self) -> None:
        """Tells the other side that there is no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()
