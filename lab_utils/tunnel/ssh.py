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
from lab_utils.tunnel.way import ProgramWay, TunnelDownError, TunnelError

START_SECONDS = 30.0

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
_NOT_FORWARDED = re.compile("remote (port forwarding failed|forward failure)", re.IGNORECASE)
_NOT_LET_IN = re.compile("Host key verification failed|Permission denied|Too many authentication")


class Ssh(ProgramWay):
    """`ssh -N -R`; see `lab_utils.tunnel.way.Way`.

    Args:
        destination: the host, as `[user@]host[:port]`.
        remote_port: the port there.
        domain: the name under which a reverse proxy on the host serves that port with HTTPS; the
            port is then opened on the host's loopback only. None: it is opened on all its
            addresses, without HTTPS.
        config: file of ssh's settings instead of the user's own.

    Raises TunnelError for another destination, such as an option of ssh, and if there is no ssh.
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
        program = shutil.which("ssh")
        if program is None:
            raise TunnelError(
                "There is no ssh on this machine; install OpenSSH's client "
                "(Debian: apt-get install openssh-client)."
            )
        self._program, self._destination = program, destination
        self._remote_port, self._domain, self._config = remote_port, domain, config

    def open(self, port: int) -> str:
        """Starts ssh; see `lab_utils.tunnel.way.Way`."""
        listen = LOOPBACK if self._domain else "*"
        forward = f"{listen}:{self._remote_port}:{LOOPBACK}:{port}"
        said: deque[str] = deque(maxlen=20)
        try:
            host = self._real_host()
            command = self._command("-N", "-T", "-R", forward)
            for line in self._run(command, START_SECONDS, "stderr"):
                if _FORWARDED in line:
                    break
                if not line.startswith("debug1:") or _NOT_FORWARDED.search(line):
                    said.append(line.strip())
            else:
                raise self._error("\n".join(said))
        except BaseException:
            self.close()
            raise
        if self._domain:
            return f"https://{self._domain}"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._remote_port}"

    def _command(self, *arguments: str) -> list[str]:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        if self._config is not None:
            options += ["-F", str(self._config)]
        return [self._program, *options, *arguments, "--", f"ssh://{self._destination}"]

    def _real_host(self) -> str:
        """The host's name or address: what is given may be a nickname from ssh's settings."""
        done = subprocess.run(
            self._command("-G"), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        found = re.search(r"^hostname (\S+)$", done.stdout, re.MULTILINE)
        if done.returncode or found is None:
            raise TunnelError(f"ssh does not accept its settings ({_last(done.stderr)}).")
        return found[1]

    def _error(self, said: str) -> TunnelError:
        """The error for ssh's last lines."""
        if _NOT_FORWARDED.search(said):
            return TunnelDownError(
                f"Port {self._remote_port} of {self._destination} is taken, or its sshd doesn't "
                "allow you to forward it; give another --remote-port, or see AllowTcpForwarding "
                "there."
            )
        if _NOT_LET_IN.search(said):
            return TunnelError(
                f"ssh can't log in ({_last(said)}): first connect once by hand with "
                f"`ssh ssh://{self._destination}`, and set up a key, so that it asks for nothing."
            )
        return TunnelDownError(f"ssh did not reach {self._destination} ({_last(said)}).")


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "no answer"
