"""The link through a host of your own: a real sshd on this machine's loopback, with keys and
settings of its own, and the real `ssh -R`."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from tunnel_serving import INFO, Edge, open_tunnel, tunnel_process, until

from lab_utils.tunnel import TunnelError
from lab_utils.tunnel import tunnel as tunnel_module

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH')}:/usr/sbin:/usr/local/sbin")
HOST = "tunnel-host"  # a nickname, as users have in ~/.ssh/config


class Sshd:
    """OpenSSH's server as an ordinary process, and the client's settings to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen | None = None
        for name in ("host", "user", "stranger"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
            subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
        (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
        known = f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}"
        (folder / "known_hosts").write_text(known)
        self.client = self.settings("client", "user", "known_hosts")

    def settings(self, name: str, key: str, known: str) -> Path:
        path = self.folder / name
        path.write_text(
            f"Host {HOST}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f'Host *\n  IdentityFile "{self.folder / key}"\n  IdentitiesOnly yes\n'
            f'  IdentityAgent none\n  UserKnownHostsFile "{self.folder / known}"\n'
            "  GlobalKnownHostsFile none\n"
        )
        return path

    def start(self) -> None:
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "AllowTcpForwarding": "yes",
            "GatewayPorts": "clientspecified",
        }
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self.folder / "sshd_config").write_text(lines)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", self.folder / "sshd_config"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=(self.folder / "log").open("a")
        )
        assert until(self.listens), (self.folder / "log").read_text()

    def listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False

    def sessions(self) -> list[int]:
        """The processes of sshd that serve a client."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> None:
        for process in self.sessions() if self.process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def clients(self) -> list[int]:
        """The processes of ssh that were started with settings from this folder."""
        found, mark = [], str(self.folder).encode()
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (path / "cmdline").read_bytes().split(b"\0")
                    if words[0].endswith(b"ssh") and any(mark in word for word in words):
                        found.append(int(path.name))
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if SSHD is None or shutil.which("ssh") is None:
        assert not os.environ.get("CI"), "CI needs OpenSSH"
        pytest.skip("needs OpenSSH: install Debian's openssh-server and openssh-client")
    server = Sshd(tmp_path_factory.mktemp("ssh"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sshd(server):
    """The server; afterwards no client of it is left."""
    if server.process.poll() is not None:
        server.start()
    yield server
    assert until(lambda: not server.clients(), 5), "an ssh was left behind"


@pytest.fixture
def app_port(serve):
    return serve(INFO).port


def test_a_link_through_a_host_asks_for_its_password_and_relays(sshd, app_port):
    port = free_port()
    options = {"remote_port": port, "ssh_config": sshd.client}
    with open_tunnel(app_port, ssh=HOST, **options) as tunnel:
        assert tunnel.url == f"http://127.0.0.1:{port}", "the nickname's address"
        assert tunnel.alive() and tunnel.answers()
        assert httpx.get(tunnel.url).status_code == 401
        assert httpx.get(tunnel.url, auth=(tunnel.user, "wrong")).status_code == 401
        answer = httpx.get(tunnel.url, auth=(tunnel.user, tunnel.password))
        assert (answer.status_code, answer.content) == (200, INFO)
    with pytest.raises(httpx.ConnectError):
        httpx.get(tunnel.url)


def test_a_key_that_may_only_open_the_port_of_a_proxy_is_enough(sshd, app_port):
    """As README.md of the package advises, behind a proxy with HTTPS."""
    port, keys = free_port(), sshd.folder / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f'restrict,port-forwarding,permitlisten="127.0.0.1:{port}" {before}')
    options = {"ssh_config": sshd.client, "domain": "lab.example.org"}
    at_the_proxy = f"http://127.0.0.1:{port}"
    try:
        with open_tunnel(app_port, None, ssh=HOST, remote_port=port, **options) as tunnel:
            assert tunnel.url == "https://lab.example.org"
            named = httpx.get(at_the_proxy, headers={"Host": "lab.example.org"})
            assert named.content == INFO
            assert httpx.get(at_the_proxy).status_code == 403, "the proxy passes the name on"
        assert "doesn't allow you to forward" in refused(app_port, sshd, **options)
    finally:
        keys.write_text(before)


def test_a_connection_that_breaks_off_is_made_again_when_the_host_is_back(
    sshd, app_port, monkeypatch
):
    monkeypatch.setattr(tunnel_module, "FIRST_WAIT_SECONDS", 0.2)
    said = []
    options = {"remote_port": free_port(), "ssh_config": sshd.client, "say": said.append}
    with open_tunnel(app_port, ssh=HOST, **options) as tunnel:
        sshd.stop()
        assert until(lambda: said)
        sshd.start()
        assert until(lambda: len(said) == 2), said
        assert httpx.get(tunnel.url, auth=(tunnel.user, tunnel.password)).content == INFO


def test_no_ssh_outlives_the_command(sshd, app_port, tmp_path):
    arguments = ["--port", app_port, "--ssh", HOST, "--ssh-config", sshd.client]
    arguments += ["--remote-port", free_port(), "--auth", "none"]
    with tunnel_process(Edge(tmp_path), *arguments) as process:
        url = process.stdout.readline().split()[2]
        assert "no password" in process.stdout.readline()
        assert "not encrypted" in process.stdout.readline()
        assert httpx.get(url).content == INFO
        assert sshd.clients()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "ssh" not in err


# What goes wrong


def refused(app_port, sshd, destination=HOST, **options) -> str:
    options = {"remote_port": free_port(), "ssh_config": sshd.client} | options
    with pytest.raises(TunnelError) as raised:
        open_tunnel(app_port, ssh=destination, **options)
    assert str(raised.value).count("\n") == 0
    return str(raised.value)


def test_a_remote_port_that_is_taken(sshd, app_port):
    both = socket.has_dualstack_ipv6()  # sshd is content with one of them
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=both) as taken:
        port = taken.getsockname()[1]
        said = refused(app_port, sshd, remote_port=port)
    assert f"Port {port} of {HOST} is taken" in said and "--remote-port" in said


def test_a_key_or_a_host_that_is_not_known(sshd, app_port):
    stranger = (sshd.folder / "stranger.pub").read_text()
    (sshd.folder / "nobody").write_text("")
    (sshd.folder / "another").write_text(f"[127.0.0.1]:{sshd.port} {stranger}")
    for key, known, words in [
        ("stranger", "known_hosts", "Permission denied"),
        ("user", "nobody", "Host key verification failed"),
        ("user", "another", "Host key verification failed"),
    ]:
        config = sshd.settings(f"{key}-{known}", key, known)
        assert words in refused(app_port, sshd, ssh_config=config)


def test_what_is_no_destination():
    for text in ("", "user@", "-oProxyCommand=x", "u@-oProxyCommand=x", "a b", "host:99999"):
        with pytest.raises(TunnelError, match="not an address for ssh"):
            open_tunnel(1, ssh=text)


def test_without_ssh_the_command_says_how_to_get_it(lab, app_port, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    code, _, err = lab("tunnel", "--port", app_port, "--ssh", "ada@example.org")
    assert code == 2 and "openssh-client" in err and err.count("\n") == 1
