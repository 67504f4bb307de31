"""The way through a host of your own: OpenSSH's reverse forwarding, kept alive.

No account and no third party; the host needs a public address, and README.md in this folder has the
lines of its configuration.
"""

import re
import shutil
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lab_utils.net import LOOPBACK
from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.program import ProgramWay

START_SECONDS = 30.0
_LAST_LINES = 20

_DESTINATION = re.compile(
    r"(?:(?P<user>[^@\s-][^@\s]*)@)?(?P<host>\[[\w:.%]+\]|[^\s:@/-][^\s:@/]*)(?::(?P<port>\d+))?"
)
_OPTIONS = (
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "BatchMode=yes",  # it runs without a terminal in which it could ask
    "ConnectTimeout=10",
    "ControlPath=none",  # through a shared connection, the forwarding would outlive this process
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "UpdateHostKeys=no",  # it would write to the home folder
    "LogLevel=DEBUG1",  # the only level that says when the port is forwarded
)
_FORWARDED = "remote forward success"
_NOT_FORWARDED = re.compile(r"remote port forwarding failed|remote forward failure", re.IGNORECASE)


@dataclass(frozen=True)
class Destination:
    """`user@host:port` in its parts; `port` None for ssh's own choice."""

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host


def parse_destination(text: str) -> Destination:
    """The parts of `[user@]host[:port]`; raises TunnelError for others, such as ssh's options."""
    found = _DESTINATION.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise TunnelError(f"{text!r} is not an address for ssh; give user@host or user@host:port.")
    return Destination(found["user"], found["host"].strip("[]"), port)


class Ssh(ProgramWay):
    """`ssh -N -R`; see `lab_utils.tunnel.program.Way`.

    Args:
        destination: the host.
        remote_port: the port there.
        domain: the name under which a reverse proxy on the host serves that port with HTTPS; the
            port is then opened on the host's loopback only. None: it is opened on all its
            addresses, without HTTPS.
        config: file of ssh's settings instead of the user's own.
    """

    def __init__(
        self,
        destination: Destination,
        remote_port: int,
        domain: str | None = None,
        config: Path | None = None,
    ) -> None:
        super().__init__()
        self._destination, self._remote_port, self._domain = destination, remote_port, domain
        self._config = config

    def open(self, port: int) -> str:
        """Starts ssh and returns the address that leads to 127.0.0.1:port.

        Raises TunnelError, or TunnelDownError if it may work a little later.
        """
        listen = LOOPBACK if self._domain else "*"
        forward = f"{listen}:{self._remote_port}:{LOOPBACK}:{port}"
        try:
            host = self._real_host()
            self._start(self._command("-N", "-T", "-R", forward))
        except BaseException:
            self.close()
            raise
        if self._domain:
            return f"https://{self._domain}"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._remote_port}"

    def _command(self, *arguments: str) -> list[str]:
        program = shutil.which("ssh")
        if program is None:
            raise TunnelError(
                "There is no ssh on this machine; install OpenSSH's client "
                "(Debian: apt-get install openssh-client)."
            )
        options = [word for option in _OPTIONS for word in ("-o", option)]
        if self._config is not None:
            options += ["-F", str(self._config)]
        if self._destination.port is not None:
            options += ["-p", str(self._destination.port)]
        return [program, *options, *arguments, "--", str(self._destination)]

    def _real_host(self) -> str:
        """The host's name or address: what is given may be a nickname from ssh's settings."""
        done = subprocess.run(
            self._command("-G"), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        found = re.search(r"^hostname (\S+)$", done.stdout, re.MULTILINE)
        if done.returncode or found is None:
            raise TunnelError(f"ssh does not accept its settings ({_last(done.stderr)}).")
        return found[1]

    def _start(self, command: list[str]) -> None:
        said: deque[str] = deque(maxlen=_LAST_LINES)
        for line in self._run(command, START_SECONDS, "stderr"):
            if _FORWARDED in line:
                return
            if not line.startswith("debug1:") or _NOT_FORWARDED.search(line):
                said.append(line.strip())
        raise self._error("\n".join(said))

    def _error(self, said: str) -> TunnelError:
        """The error for ssh's last lines."""
        destination = self._destination
        if _NOT_FORWARDED.search(said):
            return TunnelDownError(
                f"Port {self._remote_port} of {destination.host} is taken, or its sshd doesn't "
                "allow you to forward it; give another --remote-port, or see AllowTcpForwarding "
                "there."
            )
        if "Host key verification failed" in said:
            return TunnelError(
                f"ssh does not know {destination.host}'s key, or the host sent another one; "
                f"connect once with `ssh {destination}` and compare its fingerprint."
            )
        if "Permission denied" in said or "Too many authentication failures" in said:
            return TunnelError(
                f"{destination.host} does not let {destination.user or 'you'} in without a "
                f"password; set up a key (ssh-copy-id {destination}), or add it to the agent "
                "(ssh-add)."
            )
        place = f"{destination.host}, port {destination.port or 22}"
        return TunnelDownError(f"ssh did not reach {place} ({_last(said) or 'no answer'}).")


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""
