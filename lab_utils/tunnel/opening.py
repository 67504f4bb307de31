"""Opens a link: first checks that the port is one to show, then goes the way that was asked for."""

import atexit
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab_utils.tunnel.errors import TunnelError
from lab_utils.tunnel.login import MADE, login_of
from lab_utils.tunnel.ngrok import Ngrok
from lab_utils.tunnel.ssh import Ssh
from lab_utils.tunnel.target import check_port
from lab_utils.tunnel.token import find_token
from lab_utils.tunnel.tunnel import Tunnel

DEFAULT_REMOTE_PORT = 8080

_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

_open: dict[int, Tunnel] = {}


@dataclass(frozen=True)
class LinkSettings:
    """What a link is like; the defaults go through ngrok and make a password."""

    auth: str | None = MADE
    """"made" for a name and a random password, "NAME:PASSWORD", or "none" for an open link."""
    domain: str | None = None
    """A domain reserved for the ngrok account; with `ssh`, the name under which a reverse proxy on
    the host serves `remote_port` with HTTPS, or None for a link to that port, not encrypted."""
    ssh: str | None = None
    """`user@host` or `user@host:port`: a host of your own, which ssh enters without a password."""
    remote_port: int = DEFAULT_REMOTE_PORT
    """The port of that host."""
    ssh_config: Path | None = None
    """File of ssh's settings instead of the user's own."""


def open_link(
    port: int,
    settings: LinkSettings | None = None,
    *,
    token: str | None = None,
    any_program: bool = False,
    say: Callable[[str], None] = print,
) -> Tunnel:
    """Opens a public link to the app on 127.0.0.1:port.

    A second link to the same port replaces the first one of this process, as happens when a
    notebook's cell is run again.

    Args:
        settings: which way, and what the link asks for; see LinkSettings for the defaults.
        token: the ngrok account's token; None to find it, see `lab_utils.tunnel.token`.
        any_program: also link a port with another program than the lab's app.
        say: takes a line when the link breaks off, and when it is open again.

    Raises TunnelError, with a sentence that says what to do.
    """
    settings = settings or LinkSettings()
    login, domain = login_of(settings.auth), _domain(settings.domain)
    way = None
    if settings.ssh is not None:
        way = Ssh(settings.ssh, settings.remote_port, domain, settings.ssh_config)
    check_port(port, any_program)
    way = way or Ngrok(token or find_token(), domain)
    if not _open:
        atexit.register(_close_all)
    earlier = _open.pop(port, None)
    if earlier is not None:
        earlier.close()
    tunnel = _open[port] = Tunnel(port, way, login, say)
    return tunnel


def _close_all() -> None:
    for tunnel in _open.values():
        tunnel.close()


def _domain(name: str | None) -> str | None:
    if name is None:
        return None
    plain = name.strip().lower().removeprefix("https://").rstrip("/")
    if not _DOMAIN.fullmatch(plain):
        raise TunnelError(f"{name!r} is not a domain; give a name such as example.ngrok.app.")
    return plain
