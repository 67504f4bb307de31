"""What the tests of tunnels share: the stand-in agent as an executable, its certificate, the names
that lead to it, and a page that passes for the app."""

import contextlib
import datetime
import fcntl
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from conftest import free_port

from lab_utils.app import server
from lab_utils.service import gateway
from lab_utils.tunnel import LinkSettings, Tunnel, open_link

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = Path(__file__).resolve().with_name("ngrok_stand_in.py")
DOMAIN = "lab.tunnel.localhost"
INFO = json.dumps({"named_endpoints": {"/predict": {}}}).encode()


class Edge:
    """The world outside, as far as the stand-in makes one: variables for a process in it."""

    def __init__(self, folder: Path, agent: Path | None = None) -> None:
        self.folder = folder
        self.certificate = folder / "certificate.pem"
        write_certificate(self.certificate)
        self.agent = agent or executable(folder / "agent", SCRIPT)
        self.variables = {
            "PYNGROK_NGROK_PATH": str(self.agent),
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
        return [f"{pid} {command.replace(chr(0), ' ')}" for pid, command in self._processes()]

    def agents(self) -> list[int]:
        """The stand-ins with these variables that run, by their process ids."""
        script = str(SCRIPT)
        return [pid for pid, command in self._processes() if script in command.split("\0")]

    def _processes(self) -> Iterator[tuple[int, str]]:
        mark = f"STAND_IN_FOLDER={self.folder}".encode()
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (path / "environ").read_bytes().split(b"\0"):
                        yield int(path.name), (path / "cmdline").read_bytes().decode()


def open_tunnel(port: int, auth="made", domain=None, token=None, say=print, **ssh) -> Tunnel:
    """A link through ngrok, or with `ssh=` through a host."""
    return open_link(port, LinkSettings(auth, domain, **ssh), token=token, say=say)


def executable(path: Path, script: Path) -> Path:
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    path.chmod(0o755)
    return path


def write_certificate(path: Path) -> None:
    """A key and a certificate signed with it, for the stand-in's names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tunnel stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.DNSName("*.tunnel.localhost"),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))


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


def until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def tunnel_process(edge: Edge, *arguments, **variables):
    """`lab tunnel` as a process of its own, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lab_utils.cli", "tunnel", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **edge.variables, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.communicate()
