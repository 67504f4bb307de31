"""A tunnel that ends on this machine: what an agent and its servers do, without a network.

For lessons: the gate, the password and the app behind a link are the real ones, and only the world
is missing. There is no TLS here, since nothing leaves the machine.
"""

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

LOOPBACK = "127.0.0.1"
NO_AGENT = "ERR_LAB_NO_AGENT"
_AGENT_SECONDS = 1.0
_PIECE_BYTES = 64 * 1024


class FarEnd:
    """The servers' part: visitors come to `url`, and agents fetch them from `agents`.

    While no agent is there, visitors get an error page of the far end's own, as at ngrok.
    """

    def __init__(self) -> None:
        self._visitors = socket.create_server((LOOPBACK, 0))
        self._agents = socket.create_server((LOOPBACK, 0))
        self.url = f"http://{LOOPBACK}:{self._visitors.getsockname()[1]}"
        self.agents: tuple[str, int] = self._agents.getsockname()
        self._waiting: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        _in_background(_accept, self._agents, self._waiting.put)
        _in_background(_accept, self._visitors, lambda one: _in_background(self._serve, one))

    def close(self) -> None:
        """Takes no more connections."""
        for listening in (self._visitors, self._agents):
            _end(listening)
        while not self._waiting.empty():
            _end(self._waiting.get())

    def _serve(self, visitor: socket.socket) -> None:
        agent = self._agent()
        if agent is not None:
            _splice(visitor, agent)
            return
        with suppress(OSError):
            visitor.recv(_PIECE_BYTES)
            body = f"<html><h1>The link is offline</h1>{NO_AGENT}</html>".encode()
            head = (
                f"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nLab-Error-Code: {NO_AGENT}"
            )
            visitor.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        _end(visitor)

    def _agent(self) -> socket.socket | None:
        """A connection on which an agent waits for a visitor."""
        with suppress(queue.Empty):
            while True:
                agent = self._waiting.get(timeout=_AGENT_SECONDS)
                if _is_open(agent):
                    return agent
                _end(agent)
        return None


class LoopbackWay:
    """The agent's part; see `lab_utils.tunnel.tunnel.Way`. All its connections go outwards."""

    def __init__(self, far_end: FarEnd) -> None:
        self._far_end = far_end
        self._connections: set[socket.socket] = set()
        self._open = threading.Event()
        self._fetching: threading.Thread | None = None

    def open(self, port: int) -> str:
        """Fetches visitors for 127.0.0.1:port from now on; returns the link."""
        self._open.set()
        self._fetching = _in_background(self._fetch, port)
        return self._far_end.url

    def is_running(self) -> bool:
        return self._open.is_set()

    def close(self) -> None:
        """Hangs up on the far end and on all visitors; returns when no connection waits for one."""
        self._open.clear()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._fetching is not None:
            self._fetching.join()

    def _fetch(self, port: int) -> None:
        with suppress(OSError):
            while self._open.is_set():
                outwards = socket.create_connection(self._far_end.agents)
                self._connections.add(outwards)
                if not self._open.is_set() or not outwards.recv(1, socket.MSG_PEEK):
                    _end(outwards)
                    return
                _in_background(self._serve, outwards, port)

    def _serve(self, visitor: socket.socket, port: int) -> None:
        try:
            _splice(visitor, socket.create_connection((LOOPBACK, port)))
        except OSError:
            _end(visitor)
        finally:
            self._connections.discard(visitor)


def _accept(listening: socket.socket, take: Callable[[socket.socket], object]) -> None:
    with suppress(OSError):
        while True:
            take(listening.accept()[0])


def _splice(one: socket.socket, other: socket.socket) -> None:
    """Passes bytes on, both ways, until both sides have ended."""
    back = _in_background(_pump, other, one)
    _pump(one, other)
    back.join()
    for side in (one, other):
        _end(side)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    for side, way in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            side.shutdown(way)


def _is_open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _in_background(function: Callable, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
