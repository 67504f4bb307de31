"""What the tests of tunnels share: the stand-in agent as an executable, its certificate, the names
that lead to it, and a page that passes for the app."""

import contextlib
import fcntl
import json
import re
import socket
import ssl
import sys
from pathlib import Path

import httpx
import trustme
from conftest import free_port, lab_process, processes_with, program

from lab_utils.app import server
from lab_utils.service import gateway

SCRIPT = Path(__file__).resolve().with_name("ngrok_stand_in.py")
DOMAIN = "lab.tunnel.localhost"
INFO = json.dumps({"named_endpoints": {"/predict": {}}}).encode()


class Edge:
    """The world outside, as far as the stand-in makes one: variables for a process in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "certificate.pem"
        write_certificate(self.certificate, "*.tunnel.localhost", "localhost", "127.0.0.1")
        agent = folder / "agent"
        program(agent, f'exec "{sys.executable}" "{SCRIPT}" "$@"')
        self.variables = {
            "PYNGROK_NGROK_PATH": str(agent),
            "NGROK_AUTHTOKEN": "good-token",
            "STAND_IN_CERTIFICATE": str(self.certificate),
            "STAND_IN_FOLDER": str(folder),
            "STAND_IN_PORT": str(free_port()),
            "SSL_CERT_FILE": str(self.certificate),
            "LAB_HOME": str(folder / "lab"),
        }

    def client(self, url: str, **options) -> httpx.Client:
        """A visitor of a link, who checks its certificate."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=url, verify=trust, timeout=60, **options)

    def left(self) -> list[str]:
        """Process id and command of all other processes that have these variables."""
        return [f"{pid} {' '.join(command)}" for pid, command in self._processes().items()]

    def agents(self) -> list[int]:
        """The stand-ins with these variables that run, by their process ids."""
        return [pid for pid, command in self._processes().items() if str(SCRIPT) in command]

    def _processes(self) -> dict[int, list[str]]:
        return processes_with("STAND_IN_FOLDER", str(self.folder))


def link_of(process) -> tuple[str, tuple[str, str] | None]:
    """The address that `lab tunnel` or `lab demo` prints, and what a public one asks for."""
    lines = iter(process.stdout.readline, "")
    url = next((found[1] for line in lines if (found := re.search(r"The link: (\S+)", line))), None)
    assert url, process.stderr.read()
    if not url.startswith("https:"):
        return url, None
    login = r"the name (\S+) and the password (\S+)"
    return url, re.search(login, process.stdout.readline()).groups()


def write_certificate(path: Path, *names: str) -> None:
    """A key and a certificate for the names, with the authority to trust, in one file."""
    authority = trustme.CA()
    made = authority.issue_cert(*names)
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes())


def resolve_localhost(monkeypatch) -> None:
    """Lets names below `localhost` lead to this machine, as browsers do and not every system."""
    look_up = socket.getaddrinfo

    def found(host, *arguments, **options):
        if isinstance(host, str) and host.endswith(".localhost"):
            host = "127.0.0.1"
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@contextlib.contextmanager
def usual_ports_taken():
    """While it lasts the app's and the service's usual ports are taken, and no other test frees or
    takes them: one test at a time gets here, since each locks this file."""
    with open(__file__) as lock, contextlib.ExitStack() as servers:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in (server.DEFAULT_PORT, gateway.DEFAULT_PORT):
            with contextlib.suppress(OSError):  # something that is not a test has it
                servers.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def tunnel_process(edge: Edge, *arguments, **variables):
    """`lab tunnel` as a process of its own, ended at the end."""
    return lab_process("tunnel", *arguments, variables=edge.variables | variables)
