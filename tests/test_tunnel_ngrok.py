"""The link through ngrok, with pyngrok driving a stand-in for ngrok's agent that really relays.

The last test takes the real agent, where NGROK_AUTHTOKEN holds a token.
"""

import os
import re
import signal
import sys
import types

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
from lab_utils.tunnel.qr import qr_picture, qr_text
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


def test_a_link_asks_for_its_made_password_and_relays(edge, app_port, tmp_path):
    with open_tunnel(app_port, token="good-secret-token") as tunnel:
        assert tunnel.url.startswith("https://") and tunnel.alive() and tunnel.answers()
        assert page_of(edge, tunnel).status_code == 401
        assert page_of(edge, tunnel, auth=(tunnel.user, "wrong")).status_code == 401
        answer = page_of(edge, tunnel, auth=(tunnel.user, tunnel.password))
        assert (answer.status_code, answer.content) == (200, INFO)
        assert len(tunnel.password) >= 16 and tunnel.password not in repr(tunnel)
        lines = "".join(edge.left()).encode()
        files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for secret in (b"good-secret-token", tunnel.password.encode()):
            assert secret not in lines and secret not in files
    assert not tunnel.alive()
    with pytest.raises(httpx.ConnectError):
        page_of(edge, tunnel)


def test_the_link_as_a_qr_code():
    picture, lines = qr_picture("https://lab.example.org"), qr_text("https://lab.example.org")
    assert picture.mode == "L" and picture.getextrema() == (0, 255)
    plain = lines.replace("\x1b[97;40m", "").replace("\x1b[0m", "").split("\n")
    # The upper half of each character against the picture's module; their margins are 2 and 4.
    for row, line in enumerate(plain):
        for column, character in enumerate(line):
            light = picture.getpixel((8 * (column + 2) + 4, 8 * (2 * row + 2) + 4)) == 255
            assert (character in "▀█") == light


# Staying open


def test_an_agent_that_is_killed_in_use_is_replaced(edge, app_port):
    said = []
    first = open_tunnel(app_port, domain=f"https://{DOMAIN.upper()}/")
    with open_tunnel(app_port, domain=DOMAIN, say=said.append) as tunnel:
        assert tunnel.alive() and not first.alive(), "one link to a port"
        (agent,), login = edge.agents(), (tunnel.user, tunnel.password)
        os.kill(agent, signal.SIGKILL)
        assert until(lambda: len(said) == 2), said
        assert "broke off" in said[0] and said[1].endswith(f"open again: {tunnel.url}")
        assert page_of(edge, tunnel, auth=login).status_code == 200, "and the password holds"
        assert edge.agents() != [agent]


def test_a_token_that_is_revoked_in_use_ends_the_link(edge, app_port):
    with open_tunnel(app_port, token="good", say=quiet) as tunnel:
        tunnel._way._token = "revoked"
        os.kill(edge.agents()[0], signal.SIGKILL)
        with pytest.raises(TunnelError, match="ERR_NGROK_107"):
            tunnel.wait()
        assert not tunnel.alive()


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


def test_no_agent_outlives_the_command(edge, app_port):
    with tunnel_process(edge, "--port", app_port) as process:
        process.stdout.readline()
        assert edge.agents()
        process.kill()
        assert process.communicate(timeout=20)[1] == ""
    assert until(lambda: not edge.agents(), 5)


def test_a_command_that_is_ended_while_it_opens_leaves_nothing(edge, app_port):
    with tunnel_process(edge, "--port", app_port, NGROK_AUTHTOKEN="silent") as process:
        assert until(edge.agents)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, "")


# What goes wrong: one line, code 2, nothing left running


def one_line(lab, *arguments) -> str:
    code, out, err = lab("tunnel", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lab: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    "token, said",
    [
        ("revoked", r"refused the tunnel: .*ERR_NGROK_107"),
        ("unreachable", "did not reach its servers .*--share.*--ssh"),
        ("not a token", "does not hold a token"),
        ("", "needs a token.*--share.*--ssh"),
    ],
)
def test_a_token_that_does_not_do(lab, edge, app_port, monkeypatch, token, said):
    monkeypatch.setattr(ngrok, "START_SECONDS", 3)
    monkeypatch.setenv("NGROK_AUTHTOKEN", token)
    line = one_line(lab, "--port", app_port)
    assert re.search(said, line) and "authtoken: revoked" not in line


def test_a_domain_that_is_online_already(lab, edge, app_port, serve):
    other = serve(INFO).port
    with open_tunnel(app_port, domain=DOMAIN):
        assert "ERR_NGROK_334" in one_line(lab, "--port", other, "--domain", DOMAIN)


def test_a_port_with_nothing_or_another_program_behind_it(lab, edge, serve):
    port = free_port()
    line = one_line(lab, "--port", port)
    assert f"Nothing answers on port {port}" in line and f"lab app --port {port}" in line
    for answer in (b"a page", b'{"named_endpoints": {}}', b"[]"):
        port = serve(answer).port
        assert "is not the lab's app" in one_line(lab, "--port", port)
    check_port(port, any_program=True)
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
    [("--auth", "ada:"), ("--auth", "ada:a\nb"), ("--domain", "localhost"), ("--domain", "a.b/c")],
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
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "did not start" in one_line(lab, "--port", app_port)


def test_an_agent_that_cannot_be_downloaded(lab, edge, app_port, tmp_path, monkeypatch):
    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    line = one_line(lab, "--port", app_port)
    assert "could not be downloaded" in line and "--share" in line and "--ssh" in line
    assert list((tmp_path / "lab/cache/ngrok").iterdir()) == []


def test_a_terminal_is_asked_for_the_token_unseen(monkeypatch):
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", lambda prompt: " good-typed-token")
    assert find_token() == "good-typed-token"


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
