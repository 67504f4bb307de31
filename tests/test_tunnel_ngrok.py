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
from conftest import free_port, program, until
from tunnel_serving import DOMAIN, INFO, link_of, tunnel_process

from lab_utils.tunnel import TunnelError, ngrok, open_link
from lab_utils.tunnel.ngrok import find_token
from lab_utils.tunnel.qr import qr_picture, qr_text
from lab_utils.tunnel.tunnel import check_port

REAL_TOKEN = os.environ.get("NGROK_AUTHTOKEN")


@pytest.fixture
def edge(edge, monkeypatch):
    """The stand-in as the agent of this process."""
    for name, value in edge.variables.items():
        monkeypatch.setenv(name, value)
    return edge


@pytest.fixture
def app_port(serve):
    """The port of a page that passes for the app."""
    return serve(INFO).port


def page_of(edge, tunnel, **options) -> httpx.Response:
    with edge.client(tunnel.url, **options) as client:
        return client.get("/")


# The link


def test_a_link_asks_for_its_made_password_and_relays(edge, app_port, tmp_path, monkeypatch):
    monkeypatch.setenv("NGROK_AUTHTOKEN", "good-secret-token")
    with open_link(app_port) as tunnel:
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


def test_a_code_is_drawn_with_its_margin_in_black_and_white():
    picture, lines = (draw("https://lab.example.org/") for draw in (qr_picture, qr_text))
    # The picture's margin is 4 modules of 8 px, the text's 2, with two rows in a line.
    assert picture.getpixel((4 * 8 + 4, 4 * 8 + 4)) == 0
    assert lines.split("\n")[1].removeprefix("\x1b[97;40m")[:4] == "██ ▄"


def test_an_agent_that_is_killed_in_use_is_replaced(edge, app_port):
    said = []
    first = open_link(app_port, domain=f"https://{DOMAIN.upper()}/")
    with open_link(app_port, domain=DOMAIN, say=said.append) as tunnel:
        assert tunnel.alive() and not first.alive(), "one link to a port"
        (agent,), login = edge.agents(), (tunnel.user, tunnel.password)
        os.kill(agent, signal.SIGKILL)
        assert until(lambda: len(said) == 2), said
        assert "broke off" in said[0] and said[1].endswith(f"open again: {tunnel.url}")
        assert page_of(edge, tunnel, auth=login).status_code == 200, "and the password holds"
        assert edge.agents() != [agent]


# The command


def test_the_command_shows_the_link_and_ends_with_ctrl_c(edge, app_port, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": ""}
    with tunnel_process(edge, "--port", app_port, "--domain", DOMAIN, **variables) as process:
        url, login = link_of(process)
        with edge.client(url) as client:
            assert client.get("/").status_code == 401
            assert client.get("/", auth=login).status_code == 200
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


@pytest.mark.parametrize(
    "token, said",
    [
        ("revoked", r"refused the tunnel: .*ERR_NGROK_107"),
        ("taken", r"refused the tunnel: .*ERR_NGROK_334"),
        ("unreachable", "made no link in 1 s .*failed to dial.*--share"),
        ("not a token", "needs a token"),
        ("", "needs a token.*--share"),
    ],
)
def test_a_token_that_does_not_do(refused, edge, app_port, monkeypatch, token, said):
    if token == "unreachable":  # the others are told, however long the agent takes to start
        monkeypatch.setattr(ngrok, "START_SECONDS", 1)
    monkeypatch.setenv("NGROK_AUTHTOKEN", token)
    line = refused("tunnel", "--port", app_port)
    assert re.search(said, line) and "authtoken: revoked" not in line


def test_a_port_with_nothing_or_another_program_behind_it(refused, edge, serve):
    ports = [free_port(), serve(b"a page").port, serve(b'{"named_endpoints": {}}').port]
    for port in ports:
        line = refused("tunnel", "--port", port)
        assert f"does not answer on port {port}" in line and f"lab app --port {port}" in line
    check_port(ports[1], any_program=True)
    refuse = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
    check_port(serve(lambda connection, _: connection.sendall(refuse)).port)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's table of sockets")
def test_a_port_of_another_user(refused, edge, app_port, monkeypatch):
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    line = refused("tunnel", "--port", app_port)
    assert f"Port {app_port} belongs to a program of another user" in line
    check_port(app_port, any_program=True)


@pytest.mark.parametrize(
    "arguments", [("--auth", "ada:"), ("--auth", "ada:a\nb"), ("--domain", "a.b/c")]
)
def test_a_login_or_a_domain_that_is_none(refused, edge, app_port, arguments):
    refused("tunnel", "--port", app_port, *arguments)


def test_an_agent_that_is_missing_or_does_not_run(refused, edge, app_port, tmp_path, monkeypatch):
    agent = tmp_path / "agent of our own"
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(agent))
    assert "no program at" in refused("tunnel", "--port", app_port)
    program(agent, "exit 3")
    assert "made no link" in refused("tunnel", "--port", app_port)


def test_an_agent_that_cannot_be_downloaded(refused, edge, app_port, tmp_path, monkeypatch):
    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    line = refused("tunnel", "--port", app_port)
    assert "could not be downloaded" in line and "--share" in line
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
    # A notebook that has no access to the secret gets an exception.
    colab.userdata.get = {}.__getitem__
    with pytest.raises(TunnelError, match="needs a token"):
        find_token()


# The real agent


@pytest.mark.skipif(not REAL_TOKEN, reason="needs an ngrok account's token in NGROK_AUTHTOKEN")
def test_a_live_link(app_port):
    with open_link(app_port) as tunnel:
        assert until(tunnel.answers)
        login = (tunnel.user, tunnel.password)
        headers = {"ngrok-skip-browser-warning": "1"}
        assert httpx.get(tunnel.url, headers=headers).status_code == 401
        assert httpx.get(tunnel.url, headers=headers, auth=login).content == INFO
