"""What makes a port of this machine reachable from outside, and why it may not."""

from typing import Protocol

from text_recognizer.errors import RecognizerError


class TunnelError(RecognizerError):
    """The tunnel can't be opened as asked; trying again would not help."""


class TunnelDownError(TunnelError):
    """The tunnel can't be opened now; it may open a little later."""


class Way(Protocol):
    """A way to this machine from outside."""

    def open(self, port: int) -> str:
        """The public address that leads to 127.0.0.1:port.

        Raises TunnelError, or TunnelDownError if it may work a little later.
        """

    def is_running(self) -> bool:
        """Whether the program that holds the way open runs."""

    def close(self) -> None:
        """Ends the way; can be called at any time, and twice."""
