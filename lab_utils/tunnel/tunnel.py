"""A link that stays open: it is opened again when its program dies, and closed with the process at
the latest."""

import atexit
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx

from lab_utils.logins import MADE, Login, login_of
from lab_utils.net import LOOPBACK, http_client, keep_local_direct
from lab_utils.tunnel.auth_proxy import MARK, AuthProxy
from lab_utils.tunnel.ngrok import Ngrok, find_token
from lab_utils.tunnel.way import TunnelDownError, TunnelError, Way

LOOK_SECONDS = 0.5
"""How often the tunnel looks whether its program still runs."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
_ANSWER_SECONDS = 10.0
_LISTENS = "0A"  # in /proc/net/tcp
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

_open: "dict[int, Tunnel]" = {}


def open_link(
    port: int,
    auth: str | None = MADE,
    domain: str | None = None,
    *,
    any_program: bool = False,
    say: Callable[[str], None] = print,
) -> "Tunnel":
    """Opens a public link to the app on 127.0.0.1:port, through ngrok.

    A second link to the same port replaces the first one of this process, as happens when a
    notebook's cell is run again.

    Args:
        auth: "made" for a name and a random password, "NAME:PASSWORD", or "none" for an open link.
        domain: a domain reserved for the ngrok account; None for one that ngrok chooses.
        any_program: also link a port with another program than the lab's app.
        say: takes a line when the link breaks off, and when it is open again.

    Raises TunnelError or LoginError, with a sentence that says what to do.
    """
    login, domain = login_of(auth), _domain(domain)
    check_port(port, any_program)
    way = Ngrok(find_token(), domain)
    earlier = _open.pop(port, None)
    if earlier is not None:
        earlier.close()
    tunnel = _open[port] = Tunnel(port, way, login, say)
    atexit.register(tunnel.close)
    return tunnel


class Tunnel(AbstractContextManager):
    """An open link to an app on this machine; a context manager that closes it.

    Attributes:
        url: the public address; another one after a break, unless its name is reserved.
        user: name that the link asks for; None if it asks for nothing.
        password: its password.
        port: the app's port.
    """

    def __init__(
        self, port: int, way: Way, login: Login | None, say: Callable[[str], None] = print
    ) -> None:
        self.port = port
        self.user = login.user if login else None
        self.password = login.password if login else None
        self._way, self._say = way, say
        self._closing, self._ended = threading.Event(), threading.Event()
        self._failure: TunnelError | None = None
        self._proxy = AuthProxy(port, login)
        keep_local_direct()  # pyngrok asks the agent on this machine
        try:
            self._proxy.start()
            self._open()
        except BaseException:
            self._way.close()
            self._proxy.stop()
            raise
        self._watch = threading.Thread(target=self._keep_open, name="tunnel watch", daemon=True)
        self._watch.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:  # without the password
        return f"<Tunnel {self.url} -> {LOOPBACK}:{self.port}{'' if self.alive() else ' (down)'}>"

    def alive(self) -> bool:
        """Whether the agent runs; `answers` says whether the link leads here."""
        return not self._closing.is_set() and self._way.is_running()

    def answers(self) -> bool:
        """Asks the link as a visitor without a password would, and looks who answers."""
        with suppress(httpx.HTTPError), http_client(_ANSWER_SECONDS) as client:
            return client.head(self.url).headers.get(MARK) == self._proxy.mark
        return False

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the tunnel is closed, and returns whether it is.

        Raises TunnelError if it can't stay open.
        """
        ended = self._ended.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return ended

    def close(self) -> None:
        """Ends the link; nothing of it is left when this returns. Can be called twice."""
        self._closing.set()
        while self._watch.is_alive():
            self._way.close()  # also what is just being opened again
            self._watch.join(LOOK_SECONDS)

    def _open(self) -> None:
        self.url = self._way.open(self._proxy.port)
        self._proxy.open_to(self.url)

    def _keep_open(self) -> None:
        """Runs in a separate thread until the tunnel is closed, and then ends all of it."""
        try:
            while not self._closing.wait(LOOK_SECONDS):
                if not self._way.is_running():
                    self._reopen()
        except TunnelError as error:
            self._failure = error
            self._closing.set()
        finally:
            self._way.close()
            self._proxy.stop()
            self._ended.set()

    def _reopen(self) -> None:
        """Opens the link again, as often as it takes; raises TunnelError if that can't work."""
        self._say("The tunnel broke off; opening it again.")
        wait = FIRST_WAIT_SECONDS
        while not self._closing.is_set():
            self._way.close()
            with suppress(TunnelDownError):
                self._open()
                self._say(f"The tunnel is open again: {self.url}")
                return
            self._closing.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def check_port(port: int, any_program: bool = False) -> None:
    """Raises TunnelError unless the lab's app, started by this user, answers on 127.0.0.1:port.

    Args:
        any_program: any program will do, also another user's.
    """
    if any_program:
        return
    if _owners(port) - {os.getuid()}:
        raise TunnelError(
            f"Port {port} belongs to a program of another user of this machine; give the port of "
            "your own app, or --any-program to open this one anyway."
        )
    try:
        with http_client(_ANSWER_SECONDS, local=True) as client:
            answer = client.get(f"http://{LOOPBACK}:{port}/gradio_api/info")
            # With a login, it asks for that before it says what it offers.
            is_app = answer.status_code == 401 or "/predict" in answer.json()["named_endpoints"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        is_app = False
    if not is_app:
        raise TunnelError(
            f"The lab's app does not answer on port {port} of this machine; start it with "
            f"`lab app --port {port}`, give its port, or --any-program to open this one anyway."
        )


def _owners(port: int) -> set[int]:
    """The ids of the users whose programs listen on the port, as far as that is known."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6") if sys.platform == "linux" else ():
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()  # 1: the local address, 3: the state, 7: the user
                if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENS:
                    found.add(int(fields[7]))
    return found


def _domain(name: str | None) -> str | None:
    if name is None:
        return None
    plain = name.strip().lower().removeprefix("https://").rstrip("/")
    if not _DOMAIN.fullmatch(plain):
        raise TunnelError(f"{name!r} is not a domain; give a name such as example.ngrok.app.")
    return plain
