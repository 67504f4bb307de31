"""A server on this machine that sends the same bytes to every visitor."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lab_utils.net import listening_socket


@dataclass
class Request:
    """A request that came: its first line, its headers (names in small letters), its body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class StandIn:
    """What the server answers, and what it was asked."""

    answer: bytes
    wait: float = 0.0
    """Seconds until the answer comes, or until the server is closed."""
    asked: list[Request] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves at the address that it gives, `http://127.0.0.1:PORT/`."""
        with listening_socket(0) as listening:
            closing = threading.Event()

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        visitor = listening.accept()[0]
                        with suppress(OSError, ValueError), visitor:
                            self._answer(visitor, closing)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            finally:
                closing.set()
                with suppress(OSError):
                    listening.shutdown(socket.SHUT_RDWR)  # close() would leave accept waiting
                listening.close()
                thread.join()

    def _answer(self, visitor: socket.socket, closing: threading.Event) -> None:
        visitor.settimeout(5)
        with visitor.makefile("rb") as incoming:
            method, path, _ = incoming.readline().decode("latin-1").split(" ", 2)
            headers = {}
            while line := incoming.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = incoming.read(int(headers.get("content-length", 0)))
        self.asked.append(Request(method, path, headers, body))
        closing.wait(self.wait)
        visitor.sendall(self.answer)
        with suppress(OSError):
            visitor.shutdown(socket.SHUT_WR)


def http_answer(
    status: str,
    headers: str = "",
    body: bytes = b"<html>a page</html>",
    kind: str = "text/html",
    length: int | None = None,
) -> bytes:
    """The bytes of an answer; `length` is what its Content-Length says, if that is not true."""
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}Content-Length: {length}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
