"""Kept-alive HTTP connections to one service, shared by threads, under a deadline for each
exchange. The standard library's client knows only time-outs between two bytes, and no sharing."""

import http.client
import io
import os
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

MOST_IDLE = 16
"""Connections that are kept open while nobody uses them."""

MOST_IDLE_SECONDS = 20.0
"""Longest rest of a connection that is used again: routers forget silent ones without a word."""

_PIECE_BYTES = 65536


class Reply(NamedTuple):
    """An HTTP answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names are found in any case."""
    body: bytes


class ConnectTimeoutError(TimeoutError):
    """The connection was not there in time."""


class ReplyTooLargeError(Exception):
    """The body has more bytes than were asked for."""


class ConnectionPool:
    """Connections to one host; safe to use from several threads at once, and after a fork.

    Args:
        host: name or numeric address, without brackets.
        port: TCP port.
        tls: how to secure connections; None for plain HTTP.
        connect_timeout: s for the name's look-up, the connection and TLS together.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, connect_timeout: float
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._connect_timeout = connect_timeout
        self._idle: list[tuple[socket.socket, float]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    def post(
        self, target: str, body: bytes, headers: Mapping[str, str], seconds: float, max_bytes: int
    ) -> Reply:
        """Sends a request and reads its whole answer.

        A kept connection that turns out to be dead is replaced at once, so the request may reach
        the service twice: send only what is harmless to repeat.

        Args:
            target: path and query.
            body: what is sent.
            headers: all but Content-Length; Host among them.
            seconds: time for everything.
            max_bytes: most bytes that the answer's body may have.

        Raises:
            ConnectTimeoutError, TimeoutError: no connection, or no whole answer, in time.
            ReplyTooLargeError: the answer's body is larger than `max_bytes`.
            OSError, http.client.HTTPException: there is no connection, it breaks off, or what
                comes is not HTTP.
        """
        deadline = time.monotonic() + seconds
        kept = self._take()
        if kept is not None:
            try:
                return self._exchange(kept, target, body, headers, deadline, max_bytes)
            except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                # The service closed it just now, which says nothing about how the service is.
                pass
        fresh = self._connect(deadline)
        return self._exchange(fresh, target, body, headers, deadline, max_bytes)

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for sock, _ in idle:
            sock.close()

    def _exchange(
        self,
        sock: socket.socket,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
        max_bytes: int,
    ) -> Reply:
        keep = False
        try:
            reply, keep = _exchange(sock, target, body, headers, deadline, max_bytes)
            return reply
        finally:
            if keep:
                self._give_back(sock)
            else:
                sock.close()

    def _take(self) -> socket.socket | None:
        """A kept connection on which nothing has come in since, the latest used first."""
        while True:
            with self._lock:
                if self._process != os.getpid():
                    # The parent uses these too: two who share a connection get each other's texts.
                    self._idle, self._process = [], os.getpid()
                if not self._idle:
                    return None
                sock, since = self._idle.pop()
            if time.monotonic() - since < MOST_IDLE_SECONDS and not _has_input(sock):
                return sock
            sock.close()

    def _give_back(self, sock: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE and self._process == os.getpid():
                self._idle.append((sock, time.monotonic()))
                return
        sock.close()

    def _connect(self, deadline: float) -> socket.socket:
        limit = min(deadline, time.monotonic() + self._connect_timeout)
        try:
            addresses = _look_up(self._host, self._port, limit)
            for position, (family, address) in enumerate(addresses):
                sock = socket.socket(family, socket.SOCK_STREAM)
                try:
                    # A dead first address must leave time for the ones after it.
                    sock.settimeout(_left(limit) / (len(addresses) - position))
                    sock.connect(address)
                    # Without this, the end of a request may wait for the acknowledgement of its
                    # beginning.
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if self._tls is not None:
                        sock.settimeout(_left(limit))
                        sock = self._tls.wrap_socket(sock, server_hostname=self._host)
                    return sock
                except BaseException as error:
                    sock.close()
                    if not isinstance(error, OSError) or position == len(addresses) - 1:
                        raise
        except TimeoutError:
            raise ConnectTimeoutError from None
        raise OSError("the host has no address")


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _look_up(host: str, port: int, deadline: float) -> list[tuple]:
    """(family, socket address) pairs of a host, in the system's order of preference."""
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([(family, address) for family, *_, address in found])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # The system's look-up knows neither time limit nor Ctrl-C, so it runs where it can be left.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


def _has_input(sock: socket.socket) -> bool:
    """Whether something waits to be read: between two exchanges, the end or an uncalled-for answer
    that would be taken for the next one."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


class _DeadlineStream(io.RawIOBase):
    """Reads a socket so that the deadline holds over all reads together, not for each."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self.at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._sock.settimeout(_left(self._deadline))
        count = self._sock.recv_into(buffer)
        self.at_end = count == 0
        return count


class _DeadlineSocket:
    """The part of a socket that http.client uses, under one deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self.stream = _DeadlineStream(sock, deadline)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, *_args, **_kwargs) -> io.BufferedReader:
        return io.BufferedReader(self.stream)

    def close(self) -> None:
        """The pool closes the socket."""


def _exchange(
    sock: socket.socket,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    deadline: float,
    max_bytes: int,
) -> tuple[Reply, bool]:
    """The answer, and whether the connection can be used again."""
    connection = http.client.HTTPConnection("")
    connection.sock = under_deadline = _DeadlineSocket(sock, deadline)
    whole = True
    try:
        connection.request("POST", target, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        # A service that refuses a large request may answer and close before it has read all.
        whole = False
    with connection.getresponse() as response:
        if under_deadline.stream.at_end:
            # http.client takes the end of the connection for the end of the headers.
            raise http.client.IncompleteRead(bytes(0))
        pieces = bytearray()
        while piece := response.read(_PIECE_BYTES):
            pieces += piece
            if len(pieces) > max_bytes:
                raise ReplyTooLargeError
        if response.length:
            raise http.client.IncompleteRead(bytes(0))
        reply = Reply(response.status, response.headers, bytes(pieces))
        return reply, whole and not response.will_close
