"""What is behind the port, checked before it gets a public link."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import httpx

from lab_utils.net import LOOPBACK, http_client
from lab_utils.tunnel.errors import TunnelError

_SECONDS = 10.0

# In /proc/net/tcp: the state of a socket that listens, and the addresses that 127.0.0.1 leads to.
_LISTENS = "0A"
_ADDRESSES = {"0100007F", "0" * 8, "0" * 32, "0" * 16 + "FFFF0000" + "0100007F"}


def check_port(port: int, any_program: bool = False) -> None:
    """Raises TunnelError unless the lab's app, started by this user, answers on 127.0.0.1:port.

    Args:
        any_program: any program that answers will do, also another user's.
    """
    try:
        socket.create_connection((LOOPBACK, port), timeout=_SECONDS).close()
    except (OSError, OverflowError):
        raise TunnelError(
            f"Nothing answers on port {port} of this machine; start the app first, with "
            f"`lab app --port {port}`."
        ) from None
    if any_program:
        return
    owner = _owner(port)
    if owner is not None and owner != os.getuid():
        raise TunnelError(
            f"Port {port} belongs to a program of another user of this machine ({owner}); "
            "give the port of your own app, or --any-program to open this one anyway."
        )
    if not _is_app(port):
        raise TunnelError(
            f"The program on port {port} is not the lab's app; start it with "
            f"`lab app --port {port}`, give its port, or --any-program to open this one anyway."
        )


def _is_app(port: int) -> bool:
    try:
        with http_client(_SECONDS, local=True) as client:
            answer = client.get(f"http://{LOOPBACK}:{port}/gradio_api/info")
            # With a login, it asks for that before it says what it offers.
            return answer.status_code == 401 or "/predict" in answer.json()["named_endpoints"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return False


def _owner(port: int) -> int | None:
    """The id of the user whose program listens on the port; None if that isn't known."""
    if sys.platform != "linux":
        return None
    for table in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].partition(":")
                if (fields[3], int(number, 16)) == (_LISTENS, port) and address in _ADDRESSES:
                    return int(fields[7])
    return None
