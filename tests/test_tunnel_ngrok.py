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

from lab_utils.tunnel import TunnelError, ngrok
from lab_utils.tunnel.ngrok import find_token
from lab_utils.tunnel.tunnel import check_port

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


@pytest.fixture
def app_port(serve):
    """The port of a page that passes for the app."""
    return serve(INFO).port


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
        # The picture's margin is 4 modules of 8 px, the text's 2, with two rows in a line.
        picture, lines = tunnel.qr_picture(), tunnel.qr_text().split("\n")
        dark = picture.getpixel((4 * 8 + 4, 4 * 8 + 4)) == 0
        assert dark and lines[1].removeprefix("\x1b[97;40m")[:4] == "██ ▄"
    assert not tunnel.alive()
    with pytest.raises(httpx.ConnectError):
        page_of(edge, tunnel)


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
    with open_tunnel(app_port, token="good", say=str) as tunnel:
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_while_it_opens_leaves_nothing(edge, app_port, number):
    with tunnel_process(edge, "--port", app_port, NGROK_AUTHTOKEN="silent") as process:
        assert until(edge.agents)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143 if number == signal.SIGTERM else -number, "")


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
        ("unreachable", "made no link in 1 s .*--share.*--ssh"),
        ("not a token", "needs a token"),
        ("", "needs a token.*--share.*--ssh"),
    ],
)
def test_a_token_that_does_not_do(lab, edge, app_port, monkeypatch, token, said):
    monkeypatch.setattr(ngrok, "START_SECONDS", 1)
    monkeypatch.setenv("NGROK_AUTHTOKEN", token)
    line = one_line(lab, "--port", app_port)
    assert re.search(said, line) and "authtoken: revoked" not in line


def test_a_domain_that_is_online_already(lab, edge, app_port, serve):
    other = serve(INFO).port
    with open_tunnel(app_port, domain=DOMAIN):
        assert "ERR_NGROK_334" in one_line(lab, "--port", other, "--domain", DOMAIN)


def test_a_port_with_nothing_or_another_program_behind_it(lab, edge, serve):
    ports = [free_port(), serve(b"a page").port, serve(b'{"named_endpoints": {}}').port]
    for port in ports:
        line = one_line(lab, "--port", port)
        assert f"does not answer on port {port}" in line and f"lab app --port {port}" in line
    check_port(ports[1], any_program=True)
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
    assert "no program at" in one_line(lab, "--port", app_port)
    program = tmp_path / "program"
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(program))
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "chmod" in one_line(lab, "--port", app_port)
    program.chmod(0o755)
    assert "made no link" in one_line(lab, "--port", app_port)


def test_an_agent_that_cannot_be_downloaded(lab, edge, app_port, tmp_path, monkeypatch):
    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    line = one_line(lab, "--port", app_port)
    assert "could not be downloaded" in line and "--share" in line and "--ssh" in line
    assert list((tmp_path / "lab/cache/ngrok").iterdir()) == []


def test_the_token_is_typed_unseen_or_taken_from_colabs_secrets(monkeypatch):
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
        terminal.setattr("getpass.getpass", lambda prompt: " good-typed-token")
        assert find_token() == "good-typed-token"
    colab = types.ModuleType("google.colab")
    colab.userdata = types.SimpleNamespace(get={"NGROK_AUTHTOKEN": "from-colab"}.get)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(ngrok, "on_colab", lambda: True)
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
