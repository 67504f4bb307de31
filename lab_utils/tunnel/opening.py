"""Opens a link: looks first whether the port is one to be shown, then takes the way asked for."""

import atexit
import re
from collections.abc import Callable
from pathlib import Path

from lab_utils.tunnel.errors import TunnelError
from lab_utils.tunnel.login import MADE, Login, login_of
from lab_utils.tunnel.ngrok import Ngrok
from lab_utils.tunnel.ssh import Ssh, parse_destination
from lab_utils.tunnel.target import check_port
from lab_utils.tunnel.token import find_token
from lab_utils.tunnel.tunnel import Tunnel, Way

DEFAULT_REMOTE_PORT = 8080

_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

_open: dict[int, Tunnel] = {}


def open_tunnel(
    port: int,
    auth: str | None = MADE,
    domain: str | None = None,
    *,
    token: str | None = None,
    any_program: bool = False,
    tell: Callable[[str], None] = print,
) -> Tunnel:
    """Opens a link with HTTPS through ngrok to the app on 127.0.0.1:port.

    A second link to the same port takes the place of the first one of this process, as it happens
    when a notebook's cell is run again.

    Args:
        auth: "made" for a name and a made password, "USER:PASS", or None for an open link.
        domain: a domain that is reserved for the ngrok account.
        token: the account's token; None to find it, see `lab_utils.tunnel.token`.
        any_program: also link a port behind which is something else than the lab's app.
        tell: takes a line when the link breaks off, and when it is open again.

    Raises TunnelError, with a sentence that says what to do.
    """
    domain = _domain(domain)
    login = login_of(auth)
    check_port(port, any_program)
    return _kept(Ngrok(token or find_token(), domain), port, login, tell)


def open_ssh_tunnel(
    port: int,
    destination: str,
    auth: str | None = MADE,
    domain: str | None = None,
    *,
    remote_port: int = DEFAULT_REMOTE_PORT,
    ssh_config: Path | None = None,
    any_program: bool = False,
    tell: Callable[[str], None] = print,
) -> Tunnel:
    """Opens a link through a host of one's own to the app on 127.0.0.1:port, with OpenSSH.

    Args:
        destination: `user@host` or `user@host:port`; ssh has to get in without a password.
        domain: the name under which a reverse proxy on the host serves `remote_port` with HTTPS;
            None for a link to the host's port itself, which is not encrypted.
        remote_port: the host's port.
        ssh_config: file of ssh's settings instead of the user's own.

    The others, and what is raised, are those of `open_tunnel`.
    """
    domain = _domain(domain)
    login = login_of(auth)
    way = Ssh(parse_destination(destination), remote_port, domain, ssh_config)
    check_port(port, any_program)
    return _kept(way, port, login, tell)


def _kept(way: Way, port: int, login: Login | None, tell: Callable[[str], None]) -> Tunnel:
    if not _open:
        atexit.register(_close_all)
    earlier = _open.pop(port, None)
    if earlier is not None:
        earlier.close()
    tunnel = _open[port] = Tunnel(port, way, login, tell)
    return tunnel


def _close_all() -> None:
    for tunnel in _open.values():
        tunnel.close()


def _domain(name: str | None) -> str | None:
    if name is None:
        return None
    plain = name.strip().lower().removeprefix("https://").rstrip("/")
    if not _DOMAIN.fullmatch(plain):
        raise TunnelError(f"{name!r} is no domain; give a name such as example.ngrok.app.")
    return plain
