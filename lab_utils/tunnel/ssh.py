"""The way through a host of one's own: OpenSSH's reverse forwarding, kept alive.

No account and no third party; the host needs a public address, and README.md beside this file has
the lines of its configuration.
"""

import re
import shutil
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lab_utils.process import end_kept, start_kept
from lab_utils.tunnel.errors import TunnelDownError, TunnelError

START_SECONDS = 30.0
_CONNECT_SECONDS = 10
_LAST_LINES = 20

_DESTINATION = re.compile(
    r"(?:(?P<user>[^@\s-][^@\s]*)@)?(?P<host>\[[\w:.%]+\]|[^\s:@/-][^\s:@/]*)"
)
_OPTIONS = (
    "ExitOnForwardFailure=yes",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "BatchMode=yes",  # it runs without a terminal in which it could ask
    f"ConnectTimeout={_CONNECT_SECONDS}",
    "ControlPath=none",  # through a shared connection, the forwarding would outlive this process
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "UpdateHostKeys=no",  # it would write to the home folder
    "LogLevel=DEBUG1",  # the only level that tells when the forwarding stands
)
_STANDS = re.compile(r"remote forward success")
_TAKEN = re.compile(r"remote port forwarding failed|remote forward failure", re.IGNORECASE)


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
    name, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or (":" in name and not name.endswith("]")):
        name, port = text, ""
    found = _DESTINATION.fullmatch(name)
    if found is None or (port and not 0 < int(port) < 65536):
        raise TunnelError(f"{text!r} is no address for ssh; give user@host or user@host:port.")
    return Destination(found["user"], found["host"].strip("[]"), int(port) if port else None)


class Ssh:
    """`ssh -N -R`; see `lab_utils.tunnel.tunnel.Way`.

    Args:
        destination: the host.
        remote_port: the port there.
        domain: the name under which a reverse proxy on the host serves that port with HTTPS; the
            port is then opened on the host's loopback alone. None: it is opened on all its
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
        self._destination, self._remote_port, self._domain = destination, remote_port, domain
        self._config = config
        self._process: subprocess.Popen | None = None
        self._host: str | None = None

    def open(self, port: int) -> str:
        """Starts ssh and returns the address that leads to 127.0.0.1:port.

        Raises TunnelError, or TunnelDownError where it may work a little later.
        """
        program = shutil.which("ssh")
        if program is None:
            raise TunnelError(
                "There is no ssh on this machine; install OpenSSH's client "
                "(Debian: apt-get install openssh-client)."
            )
        host = self._host = self._host or self._real_host(program)
        listen = "127.0.0.1" if self._domain else "*"
        forward = f"{listen}:{self._remote_port}:127.0.0.1:{port}"
        command = [*self._base(program), "-N", "-T", "-R", forward, "--", str(self._destination)]
        try:
            self._start(command)
        except BaseException:
            self.close()
            raise
        if self._domain:
            return f"https://{self._domain}"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._remote_port}"

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ends ssh; returns when it is gone."""
        process, self._process = self._process, None
        end_kept(process)

    def _base(self, program: str) -> list[str]:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        if self._config is not None:
            options += ["-F", str(self._config)]
        if self._destination.port is not None:
            options += ["-p", str(self._destination.port)]
        return [program, *options]

    def _real_host(self, program: str) -> str:
        """The host's name or address: what is given may be a nickname from ssh's settings."""
        command = [*self._base(program), "-G", "--", str(self._destination)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        found = re.search(r"^hostname (\S+)$", done.stdout, re.MULTILINE)
        if done.returncode or found is None:
            raise TunnelError(f"ssh does not take its settings ({_last(done.stderr)}).")
        return found[1]

    def _start(self, command: list[str]) -> None:
        self._process = start_kept(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        log = _Log(self._process)
        if log.ended.wait(START_SECONDS) and log.stands:
            return
        said = " ".join(log.lines)
        place = f"{self._destination.host}, port {self._destination.port or 22}"
        if _TAKEN.search(said):
            raise TunnelDownError(
                f"Port {self._remote_port} of {self._destination.host} is taken, or its sshd lets "
                "nobody forward it; give another --remote-port, or see AllowTcpForwarding there."
            )
        if "Host key verification failed" in said:
            raise TunnelError(
                f"ssh does not know {self._destination.host}'s key, or another one answered; "
                f"connect once with `ssh {self._destination}` and compare its fingerprint."
            )
        if "Permission denied" in said or "Too many authentication failures" in said:
            raise TunnelError(
                f"{self._destination.host} does not let {self._destination.user or 'you'} in "
                f"without a password; set up a key (ssh-copy-id {self._destination}), or add it to "
                "the agent (ssh-add)."
            )
        raise TunnelDownError(f"ssh did not reach {place} ({_last(said) or 'no answer'}).")


class _Log:
    """Reads what ssh says until the forwarding stands or ssh ends; what comes later is dropped."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.stands = False
        self.ended = threading.Event()
        threading.Thread(target=self._read, args=(process,), name="ssh's log", daemon=True).start()

    def _read(self, process: subprocess.Popen) -> None:
        with process.stderr:
            for line in process.stderr:
                if _STANDS.search(line):
                    self.stands = True
                    self.ended.set()
                if not self.stands and (not line.startswith("debug1:") or _TAKEN.search(line)):
                    self.lines.append(line.strip())
        self.ended.set()


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else ""
