"""The link through ngrok, with pyngrok driving a stand-in for ngrok's agent that really relays.

The last test takes the real agent, where NGROK_AUTHTOKEN holds a token.
"""

import io
import os
import pty
import re
import signal
import ssl
import subprocess
import sys
import tarfile
import time
import types
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from tunnel_serving import (
    DOMAIN,
    INFO,
    Edge,
    open_tunnel,
    resolve_localhost,
    tunnel_process,
    until,
)

from lab_utils.tunnel import TunnelError, ngrok, token
from lab_utils.tunnel import tunnel as tunnel_module
from lab_utils.tunnel.ngrok import agent_path
from lab_utils.tunnel.target import check_port
from lab_utils.tunnel.token import find_token

REAL_TOKEN = os.environ.get("NGROK_AUTHTOKEN")


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """The stand-in as the agent of this process; afterwards none of it is left."""
    edge = Edge(tmp_path)
    for name, value in edge.variables.items():
        monkeypatch.setenv(name, value)
    resolve_localhost(monkeypatch)
    yield edge
    assert until(lambda: not edge.agents(), 5), "an agent was left behind"
    assert list(tmp_path.glob("lab/tunnel/*")) == [], "the token was left behind"


@pytest.fixture
def app_port(serve):
    """The port of a page that passes for the app."""
    return serve(INFO).port


def quiet(_line: str) -> None:
    pass


def page_of(edge, tunnel, **options) -> httpx.Response:
    with edge.client(tunnel.url, **options) as client:
        return client.get("/")


# The link


def test_a_link_asks_for_its_made_password_and_relays(edge, app_port):
    with open_tunnel(app_port) as tunnel:
        assert tunnel.url.startswith("https://") and tunnel.alive() and tunnel.answers()
        assert page_of(edge, tunnel).status_code == 401
        assert page_of(edge, tunnel, auth=(tunnel.user, "wrong")).status_code == 401
        answer = page_of(edge, tunnel, auth=(tunnel.user, tunnel.password))
        assert (answer.status_code, answer.content) == (200, INFO)
        assert len(tunnel.password) >= 16 and tunnel.password not in repr(tunnel)
    assert not tunnel.alive()
    with pytest.raises(httpx.ConnectError):
        page_of(edge, tunnel)


def test_where_the_environment_names_a_proxy_what_is_local_is_asked_directly(
    edge, app_port, monkeypatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with open_tunnel(app_port, None, domain=DOMAIN) as tunnel:
        assert tunnel.alive()
        assert httpx.get(f"http://127.0.0.1:{app_port}").content == INFO


@pytest.mark.parametrize("login", [("ada", "s:ecret"), None])
def test_a_link_with_a_login_of_ones_own_or_none(edge, app_port, login):
    with open_tunnel(app_port, login and ":".join(login)) as tunnel:
        assert (tunnel.user, tunnel.password) == (login or (None, None))
        assert page_of(edge, tunnel, auth=login).status_code == 200


def test_a_second_link_to_the_same_port_takes_the_firsts_place(edge, app_port):
    """As when a notebook's cell is run again."""
    first = open_tunnel(app_port, domain=f"https://{DOMAIN.upper()}/")
    with open_tunnel(app_port, domain=DOMAIN) as second:
        assert second.alive() and not first.alive()
        assert len(edge.agents()) == 1


def test_the_token_and_the_password_are_in_no_command_line_and_no_file(edge, app_port, tmp_path):
    with open_tunnel(app_port, token="good-secret-token") as tunnel:
        lines = "".join(edge.left()).encode() + Path("/proc/self/cmdline").read_bytes()
        assert edge.agents()
        files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for secret in (b"good-secret-token", tunnel.password.encode()):
            assert secret not in lines and secret not in files


def test_the_link_as_a_qr_code(edge, app_port):
    with open_tunnel(app_port) as tunnel:
        picture, text = tunnel.qr_picture(), tunnel.qr_text()
    assert picture.mode == "L" and picture.getextrema() == (0, 255)
    plain = text.replace("\x1b[97;40m", "").replace("\x1b[0m", "").split("\n")
    # The upper half of each character against the picture's module; their margins are 2 and 4.
    for row, line in enumerate(plain):
        for column, character in enumerate(line):
            light = picture.getpixel((8 * (column + 2) + 4, 8 * (2 * row + 2) + 4)) == 255
            assert (character in "▀█") == light
    assert len(plain[0]) == picture.width // 8 - 4


# Staying open


@pytest.mark.parametrize("domain", [DOMAIN, None])
def test_an_agent_that_is_killed_in_use_is_replaced(edge, app_port, domain):
    said = []
    with open_tunnel(app_port, domain=domain, say=said.append) as tunnel:
        url, (first,) = tunnel.url, edge.agents()
        login = (tunnel.user, tunnel.password)
        assert page_of(edge, tunnel, auth=login).status_code == 200
        os.kill(first, signal.SIGKILL)
        assert until(lambda: len(said) == 2), said
        assert "broke off" in said[0] and said[1].endswith(f"open again: {tunnel.url}")
        assert (tunnel.url == url) == (domain is not None), "a reserved name stays"
        assert page_of(edge, tunnel, auth=login).status_code == 200, "and the password holds"
        assert edge.agents() != [first]


def test_a_machine_that_slept_looks_whether_its_link_still_leads_here(edge, app_port, monkeypatch):
    clock = [0.0]
    stopwatch = types.SimpleNamespace(time=lambda: clock[0] + time.monotonic())
    monkeypatch.setattr(tunnel_module, "time", stopwatch)
    monkeypatch.setattr(tunnel_module, "FIRST_WAIT_SECONDS", 0.1)
    said = []
    with open_tunnel(app_port, domain=DOMAIN, say=said.append) as tunnel:
        clock[0] += 3600
        time.sleep(3 * tunnel_module.LOOK_SECONDS)
        assert said == [], "the link was still good"
        os.kill(edge.agents()[0], signal.SIGUSR1)  # the agent runs, and relays nothing any more
        assert until(lambda: not tunnel.answers()) and tunnel.alive()
        clock[0] += 3600
        assert until(lambda: len(said) == 2), said
        assert tunnel.answers()


def test_a_token_that_is_revoked_in_use_ends_the_link(edge, app_port):
    with open_tunnel(app_port, token="good", say=quiet) as tunnel:
        tunnel._way._token = "revoked"
        os.kill(edge.agents()[0], signal.SIGKILL)
        with pytest.raises(TunnelError, match="ERR_NGROK_107"):
            tunnel.wait()
        assert not tunnel.alive()


def test_a_network_that_is_away_for_a_while_is_waited_for(edge, app_port, monkeypatch):
    monkeypatch.setattr(ngrok, "START_SECONDS", 3)
    monkeypatch.setattr(tunnel_module, "FIRST_WAIT_SECONDS", 0.1)
    said = []
    with open_tunnel(app_port, token="good", say=said.append) as tunnel:
        tunnel._way._token = "unreachable"
        os.kill(edge.agents()[0], signal.SIGKILL)
        assert until(lambda: said and edge.agents())
        tunnel._way._token = "good"
        assert until(lambda: len(said) == 2, 60)


# The command


def test_the_command_shows_the_link_and_ends_with_ctrl_c(edge, app_port, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": ""}
    arguments = ["--port", app_port, "--domain", DOMAIN]
    with tunnel_process(edge, *arguments, **variables) as process:
        link, login = process.stdout.readline(), process.stdout.readline()
        url = link.split()[2]
        name, password = login.split()[5], login.split()[-1]
        with edge.client(url) as client:
            assert client.get("/").status_code == 401
            assert client.get("/", auth=(name, password)).status_code == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert "█" not in out and "\x1b" not in out, "no picture in a file or a notebook's output"
    assert not edge.agents() and list(home.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_no_agent_outlives_the_command(edge, app_port, number):
    with tunnel_process(edge, "--port", app_port) as process:
        process.stdout.readline()
        assert edge.agents()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert err == ""
    assert until(lambda: not edge.agents(), 5)


def test_a_command_that_is_ended_while_it_opens_leaves_nothing(edge, app_port):
    with tunnel_process(edge, "--port", app_port, NGROK_AUTHTOKEN="silent") as process:
        assert until(edge.agents)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, "")


def test_a_terminal_gets_the_qr_code_and_is_asked_for_the_token_unseen(edge, app_port):
    master, slave = pty.openpty()
    variables = {name: value for name, value in edge.variables.items() if name != "NGROK_AUTHTOKEN"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lab_utils.cli", "tunnel", "--port", str(app_port)],
        env={**{k: v for k, v in os.environ.items() if k != "NGROK_AUTHTOKEN"}, **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    try:
        while b"not shown:" not in shown:
            shown += os.read(master, 1000)
        os.write(master, b"good-typed-token\n")
        while b"the password" not in shown:
            shown += os.read(master, 1000)
    finally:
        process.terminate()
        assert process.wait(20) == 143
        os.close(master)
    assert b"good-typed-token" not in shown
    assert "█".encode() in shown and b"\x1b[97;40m" in shown


# What goes wrong: one line, code 2, nothing left running


def one_line(lab, *arguments) -> str:
    code, out, err = lab("tunnel", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lab: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    "token, said",
    [
        ("wrong", r"does not accept this token.*\(ERR_NGROK_105\)"),
        ("revoked", r"revoked \(ERR_NGROK_107\)"),
        ("crowded", r"Another tunnel .* \(ERR_NGROK_108\)"),
        ("unreachable", "did not reach its servers .*--share.*--ssh"),
        ("silent", "did not start .*--share.*--ssh"),
        ("not a token", "does not hold a token"),
        ("", "needs a token.*--share.*--ssh"),
    ],
)
def test_a_token_that_does_not_do(lab, edge, app_port, monkeypatch, token, said):
    if token in ("unreachable", "silent"):
        monkeypatch.setattr(ngrok, "START_SECONDS", 5)
        monkeypatch.setattr(ngrok, "_IMPORT_SECONDS", 1)
    monkeypatch.setenv("NGROK_AUTHTOKEN", token)
    line = one_line(lab, "--port", app_port)
    assert re.search(said, line)
    assert "Your authtoken" not in line


def test_a_domain_of_somebody_else(lab, edge, app_port):
    line = one_line(lab, "--port", app_port, "--domain", "foreign.tunnel.localhost")
    assert "foreign.tunnel.localhost is not a domain of this ngrok account" in line


def test_two_tunnels_at_once(lab, edge, app_port, serve):
    other = serve(INFO).port
    with open_tunnel(app_port, domain=DOMAIN):
        assert "ERR_NGROK_334" in one_line(lab, "--port", other, "--domain", DOMAIN)
        with open_tunnel(other):
            assert len(edge.agents()) == 2


def test_a_port_with_nothing_behind_it(lab, edge):
    port = free_port()
    line = one_line(lab, "--port", port)
    assert f"Nothing answers on port {port}" in line and f"lab app --port {port}" in line


@pytest.mark.parametrize("answer", [b"a page", b'{"named_endpoints": {}}', b"[]", b"\xff\x00"])
def test_a_port_with_another_program_behind_it(lab, edge, serve, answer):
    port = serve(answer).port
    assert "is not the lab's app" in one_line(lab, "--port", port)
    check_port(port, any_program=True)


def test_an_app_that_asks_for_a_login_is_the_app(serve):
    refuse = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
    check_port(serve(lambda connection, _: connection.sendall(refuse)).port)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's table of sockets")
def test_a_port_of_another_user(lab, edge, app_port, monkeypatch):
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    assert f"Port {app_port} belongs to a program of another user" in one_line(
        lab, "--port", app_port
    )
    check_port(app_port, any_program=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--auth", "ada"),
        ("--auth", ":secret"),
        ("--auth", "ada:"),
        ("--auth", "ada:a\nb"),
        ("--domain", "no domain"),
        ("--domain", "-x.example"),
        ("--domain", "localhost"),
        ("--domain", "a.example/path"),
    ],
)
def test_a_login_or_a_domain_that_is_none(lab, edge, app_port, arguments):
    one_line(lab, "--port", app_port, *arguments)


def test_an_agent_that_is_missing_or_does_not_run(lab, edge, app_port, tmp_path, monkeypatch):
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(tmp_path / "none"))
    assert "no ngrok agent at" in one_line(lab, "--port", app_port)
    program = tmp_path / "program"
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(program))
    program.write_bytes(b"\x7fELF for another machine")
    assert "chmod +x" in one_line(lab, "--port", app_port)
    program.chmod(0o755)
    assert "did not start" in one_line(lab, "--port", app_port)
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "did not start" in one_line(lab, "--port", app_port)


def archive_of(agent: Path, name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(agent, name)
    return stream.getvalue()


@pytest.fixture
def download(edge, serve, monkeypatch, tmp_path):
    """ngrok's download page, by way of a proxy: call it with the file that it has."""
    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    monkeypatch.setattr(ngrok, "_DOWNLOAD_SECONDS", 5)

    def start(data: bytes | None):
        def answer(connection, request):
            assert request.startswith(b"CONNECT bin.ngrok.com:443 ")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(edge.certificate)
            with context.wrap_socket(connection, server_side=True) as visitor:
                visitor.recv(65536)
                length = f"Content-Length: {len(data)}"
                visitor.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode() + data)

        server = serve(answer)
        url = f"http://127.0.0.1:{free_port()}" if data is None else server.url
        monkeypatch.setenv("HTTPS_PROXY", url)
        return server

    return start


def test_the_agent_is_downloaded_once_into_the_labs_cache(edge, app_port, download, tmp_path):
    page = download(archive_of(edge.agent, "ngrok"))
    for _ in range(2):
        assert agent_path() == tmp_path / "lab/cache/ngrok/ngrok"
    assert [path.name for path in (tmp_path / "lab/cache/ngrok").iterdir()] == ["ngrok"]
    assert len(page.requests) == 1
    os.environ.pop("HTTPS_PROXY")
    open_tunnel(app_port).close()


def test_without_a_network_the_agent_cannot_be_downloaded(lab, app_port, download):
    download(None)
    line = one_line(lab, "--port", app_port)
    assert "could not be downloaded" in line and "--share" in line and "--ssh" in line


@pytest.mark.parametrize("what", ["nothing", "a sign-in page", "an archive of something else"])
def test_what_is_not_the_agent_is_not_kept(lab, edge, app_port, download, tmp_path, what):
    other = archive_of(edge.certificate, "other")
    download({"nothing": b"", "a sign-in page": b"<html>"}.get(what, other))
    assert "could not be downloaded" in one_line(lab, "--port", app_port)
    assert list((tmp_path / "lab/cache/ngrok").iterdir()) == []


def test_the_token_of_colabs_secrets_is_taken(monkeypatch):
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    colab = types.ModuleType("google.colab")
    colab.userdata = types.SimpleNamespace(get={"NGROK_AUTHTOKEN": "from-colab"}.get)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(token, "on_colab", lambda: True)
    assert find_token() == "from-colab"

    def refuse(_name):
        raise PermissionError("the notebook has no access")

    colab.userdata.get = refuse
    with pytest.raises(TunnelError, match="needs a token"):
        find_token()


# The real agent


@pytest.mark.skipif(not REAL_TOKEN, reason="needs an ngrok account's token in NGROK_AUTHTOKEN")
def test_a_live_link(app_port):
    with open_tunnel(app_port, token=REAL_TOKEN) as tunnel:
        assert until(tunnel.answers)
        login = (tunnel.user, tunnel.password)
        headers = {"ngrok-skip-browser-warning": "1"}
        assert httpx.get(tunnel.url, headers=headers).status_code == 401
        assert httpx.get(tunnel.url, headers=headers, auth=login).content == INFO
