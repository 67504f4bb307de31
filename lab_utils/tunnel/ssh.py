"""The way through a host of your own: OpenSSH's reverse forwarding, kept alive.

No account and no third party; the host needs a public address, and README.md in this folder has the
lines of its configuration.
"""

import re
import shutil
import subprocess
from collections import deque
from pathlib import Path

from lab_utils.net import LOOPBACK
from lab_utils.tunnel.errors import TunnelDownError, TunnelError
from lab_utils.tunnel.program import ProgramWay

START_SECONDS = 30.0
_LAST_LINES = 20

_DESTINATION = re.compile(
    r"([^@\s-][^@\s]*@)?(?P<host>\[[\w:.%]+\]|[^\s:@/-][^\s:@/]*)(:(?P<port>\d{1,5}))?"
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
_NOT_LET_IN = re.compile(
    "Host key verification failed|Permission denied|Too many authentication failures"
)


class Ssh(ProgramWay):
    """`ssh -N -R`; see `lab_utils.tunnel.program.Way`.

    Args:
        destination: the host, as `[user@]host[:port]`.
        remote_port: the port there.
        domain: the name under which a reverse proxy on the host serves that port with HTTPS; the
            port is then opened on the host's loopback only. None: it is opened on all its
            addresses, without HTTPS.
        config: file of ssh's settings instead of the user's own.

    Raises TunnelError for another destination, such as an option of ssh.
    """

    def __init__(
        self,
        destination: str,
        remote_port: int,
        domain: str | None = None,
        config: Path | None = None,
    ) -> None:
        found = _DESTINATION.fullmatch(destination)
        if found is None or not 0 < int(found["port"] or 22) < 65536:
            raise TunnelError(
                f"{destination!r} is not an address for ssh; give user@host or user@host:port."
            )
        self._destination, self._host = destination, found["host"].strip("[]")
        self._remote_port, self._domain, self._config = remote_port, domain, config

    def open(self, port: int) -> str:
        """Starts ssh; see `lab_utils.tunnel.program.Way`."""
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
        return [program, *options, *arguments, "--", f"ssh://{self._destination}"]

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
        destination, host = self._destination, self._host
        if _NOT_FORWARDED.search(said):
            return TunnelDownError(
                f"Port {self._remote_port} of {host} is taken, or its sshd doesn't allow you to "
                "forward it; give another --remote-port, or see AllowTcpForwarding there."
            )
        if _NOT_LET_IN.search(said):
            return TunnelError(
                f"ssh can't log in to {host} ({_last(said)}): first connect once by hand with "
                f"`ssh ssh://{destination}`, and set up a key, so that it asks for nothing."
            )
        return TunnelDownError(f"ssh did not reach {destination} ({_last(said) or 'no answer'}).")


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""
