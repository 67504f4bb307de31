"""The link through ngrok, with pyngrok driving a stand-in for ngrok's agent that really relays.

The last test takes the real agent, where NGROK_AUTHTOKEN holds a token.
"""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import free_port
from tunnel_serving import (
    DOMAIN,
    INFO,
    ROOT,
    Edge,
    resolve_localhost,
    tunnel_process,
    until,
)

from lab_utils.tunnel import TunnelDownError, TunnelError, ngrok, open_tunnel
from lab_utils.tunnel import tunnel as tunnel_module
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


def test_each_link_has_another_password(edge, app_port):
    passwords = set()
    for _ in range(2):
        with open_tunnel(app_port) as tunnel:
            passwords.add(tunnel.password)
    assert len(passwords) == 2


def test_a_link_with_a_login_of_ones_own_and_one_without(edge, app_port):
    with open_tunnel(app_port, "ada:s:ecret") as tunnel:
        assert (tunnel.user, tunnel.password) == ("ada", "s:ecret")
        assert page_of(edge, tunnel, auth=("ada", "s:ecret")).status_code == 200
    with open_tunnel(app_port, None) as tunnel:
        assert tunnel.user is tunnel.password is None
        assert page_of(edge, tunnel).status_code == 200


def test_a_reserved_domain_is_used(edge, app_port):
    with open_tunnel(app_port, domain=f"https://{DOMAIN.upper()}/") as tunnel:
        assert tunnel.url.startswith(f"https://{DOMAIN}:")


def test_a_second_link_to_the_same_port_takes_the_firsts_place(edge, app_port):
    """As when a notebook's cell is run again."""
    first = open_tunnel(app_port, domain=DOMAIN)
    with open_tunnel(app_port, domain=DOMAIN) as second:
        assert second.alive() and not first.alive()
        assert len(edge.agents()) == 1


def test_the_token_and_the_password_are_in_no_command_line_and_no_file(edge, app_port, tmp_path):
    with open_tunnel(app_port, token="good-secret-token") as tunnel:
        lines = b"".join(
            (Path("/proc") / str(process) / "cmdline").read_bytes()
            for process in [os.getpid(), *edge.agents(), *children_of(os.getpid())]
        )
        files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for secret in (b"good-secret-token", tunnel.password.encode()):
            assert secret not in lines and secret not in files


def children_of(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(one) for one in found]


def test_nothing_is_written_at_home(edge, app_port, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with tunnel_process(edge, "--port", app_port) as process:
        assert "https://" in process.stdout.readline()
    assert list(home.iterdir()) == []


def test_the_link_as_a_qr_code(edge, app_port):
    with open_tunnel(app_port) as tunnel:
        picture, text = tunnel.qr_picture(), tunnel.qr_text()
    assert picture.size[0] == picture.size[1] >= 200
    assert picture.getpixel((0, 0)) == 255 and picture.getextrema() == (0, 255)
    lines = text.split("\n")
    modules = picture.width // 8 - 4  # the terminal's margin is 2 modules, the picture's is 4
    assert len(lines) == (modules + 1) // 2
    # The upper half of each character against the picture's module.
    for row, line in enumerate(lines):
        for column, character in enumerate(
            line.removeprefix("\x1b[30;107m").removesuffix("\x1b[0m")
        ):
            dark = picture.getpixel((8 * (column + 2) + 4, 8 * (2 * row + 2) + 4)) == 0
            assert (character in "▀█") == dark


# Staying open


def test_an_agent_that_is_killed_in_use_is_replaced_under_the_same_name(edge, app_port):
    told = []
    with open_tunnel(app_port, domain=DOMAIN, tell=told.append) as tunnel:
        url, (first,) = tunnel.url, edge.agents()
        login = (tunnel.user, tunnel.password)
        assert page_of(edge, tunnel, auth=login).status_code == 200
        os.kill(first, signal.SIGKILL)
        assert until(lambda: len(told) == 2), told
        assert "broke off" in told[0] and told[1].endswith(f"open again: {url}")
        assert page_of(edge, tunnel, auth=login).status_code == 200, "and the password holds"
        assert edge.agents() != [first]


def test_a_link_without_a_reserved_name_tells_its_new_one(edge, app_port):
    told = []
    with open_tunnel(app_port, tell=told.append) as tunnel:
        url = tunnel.url
        os.kill(edge.agents()[0], signal.SIGKILL)
        assert until(lambda: len(told) == 2)
        assert tunnel.url != url and told[1].endswith(tunnel.url)
        assert page_of(edge, tunnel).status_code == 401


def test_a_machine_that_slept_looks_whether_its_link_still_leads_here(edge, app_port, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(tunnel_module, "_clock", lambda: clock[0] + time.monotonic())
    monkeypatch.setattr(tunnel_module, "FIRST_WAIT_SECONDS", 0.1)
    told = []
    with open_tunnel(app_port, domain=DOMAIN, tell=told.append) as tunnel:
        clock[0] += 3600
        time.sleep(3 * tunnel_module.LOOK_SECONDS)
        assert told == [], "the link was still good"
        os.kill(edge.agents()[0], signal.SIGUSR1)  # the agent runs, and relays nothing any more
        assert until(lambda: not tunnel.answers()) and tunnel.alive()
        clock[0] += 3600
        assert until(lambda: len(told) == 2), told
        assert tunnel.answers()


def test_a_token_that_is_revoked_in_use_ends_the_link(edge, app_port):
    with open_tunnel(app_port, token="good", tell=quiet) as tunnel:
        tunnel._way._token = "revoked"
        os.kill(edge.agents()[0], signal.SIGKILL)
        with pytest.raises(TunnelError, match="ERR_NGROK_107"):
            tunnel.wait()
        assert not tunnel.alive()


def test_a_network_that_is_away_for_a_while_is_waited_for(edge, app_port, monkeypatch):
    monkeypatch.setattr(ngrok, "UNREACHABLE_SECONDS", 0.0)
    monkeypatch.setattr(tunnel_module, "FIRST_WAIT_SECONDS", 0.1)
    told = []
    with open_tunnel(app_port, token="good", tell=told.append) as tunnel:
        tunnel._way._token = "unreachable"
        os.kill(edge.agents()[0], signal.SIGKILL)
        time.sleep(1.5)
        assert len(told) == 1 and tunnel._watch.is_alive()
        tunnel._way._token = "good"
        assert until(lambda: len(told) == 2)


# The command


def test_the_command_shows_the_link_and_ends_with_ctrl_c(edge, app_port):
    with tunnel_process(edge, "--port", app_port, "--domain", DOMAIN) as process:
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
    assert not edge.agents()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_no_agent_outlives_the_command(edge, app_port, number):
    with tunnel_process(edge, "--port", app_port) as process:
        process.stdout.readline()
        assert edge.agents()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
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
    assert "█".encode() in shown and b"\x1b[30;107m" in shown


# What goes wrong: one line, code 2, nothing left running


def one_line(lab, *arguments) -> str:
    code, out, err = lab("tunnel", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lab: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    "token, said",
    [
        ("wrong", r"does not take this token \(ERR_NGROK_105\)"),
        ("revoked", r"not valid any more \(ERR_NGROK_107\)"),
        ("crowded", r"Another tunnel .* \(ERR_NGROK_108\)"),
        ("unreachable", "servers were not reached .*--share.*--ssh"),
        ("silent", "did not start .*--share.*--ssh"),
        ("not a token", "is no token"),
        ("", "needs a token.*--share.*--ssh"),
    ],
)
def test_a_token_that_does_not_do(lab, edge, app_port, monkeypatch, token, said):
    monkeypatch.setattr(ngrok, "UNREACHABLE_SECONDS", 1.0)
    monkeypatch.setattr(ngrok, "START_SECONDS", 1)
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
    with open_tunnel(port, any_program=True) as tunnel:
        login = (tunnel.user, tunnel.password)
        assert page_of(edge, tunnel, auth=login).content == answer


def test_an_app_that_asks_who_is_there_is_the_app(edge, serve):
    refuse = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
    port = serve(lambda connection, _: connection.sendall(refuse)).port
    open_tunnel(port).close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's table of sockets")
def test_a_port_of_another_user(lab, edge, app_port, monkeypatch):
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    assert f"Port {app_port} belongs to a program of another user" in one_line(
        lab, "--port", app_port
    )
    open_tunnel(app_port, any_program=True).close()


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
    assert "does not run (OSError" in one_line(lab, "--port", app_port)
    program.write_text("#!/bin/sh\nexit 3\n")
    assert "did not start" in one_line(lab, "--port", app_port)


def test_without_a_network_the_agent_cannot_be_fetched(lab, edge, app_port, monkeypatch):
    from pyngrok import installer

    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    nowhere = f"http://127.0.0.1:{free_port()}/agent.tgz"
    monkeypatch.setattr(installer, "get_ngrok_cdn_url", lambda _version: nowhere)
    line = one_line(lab, "--port", app_port)
    assert "could not be downloaded" in line and "--share" in line and "--ssh" in line


def test_the_agent_is_fetched_into_the_labs_cache(edge, app_port, serve, tmp_path, monkeypatch):
    import io
    import tarfile

    from pyngrok import installer

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(edge.agent, "ngrok")
    served = serve(stream.getvalue())
    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    monkeypatch.setattr(installer, "get_ngrok_cdn_url", lambda _version: served.url)
    for _ in range(2):
        open_tunnel(app_port).close()
    assert [path.name for path in (tmp_path / "lab/cache/ngrok").iterdir()] == ["ngrok"]
    assert len(served.requests) == 1


@pytest.mark.parametrize("data", [b"", b"a sign-in page", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_agent_is_not_kept(lab, edge, app_port, serve, tmp_path, monkeypatch, data):
    from pyngrok import installer

    monkeypatch.delenv("PYNGROK_NGROK_PATH")
    served = serve(data)
    monkeypatch.setattr(installer, "get_ngrok_cdn_url", lambda _version: served.url)
    assert "is none; try again" in one_line(lab, "--port", app_port)
    assert list((tmp_path / "lab/cache/ngrok").iterdir()) == []


def test_the_token_of_colabs_secrets_is_taken(monkeypatch):
    import types

    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    from lab_utils.tunnel import token

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


def test_errors_that_may_pass_are_told_apart():
    assert issubclass(TunnelDownError, TunnelError)


def test_the_benchmark_ends_in_one_json_line():
    script = [sys.executable, str(ROOT / "benchmarks" / "tunnel.py")]
    done = subprocess.run(
        [*script, "--megabytes", "1", "--rounds", "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["mb_per_second"]) == {"app", "gate", "link"}
    assert set(found["targets"]) == {"link_mb_per_second", "added_seconds"}
    assert found["added_seconds"] < found["opening_seconds"]


# The real agent


@pytest.mark.skipif(not REAL_TOKEN, reason="needs an ngrok account's token in NGROK_AUTHTOKEN")
def test_a_live_link(app_port):
    with open_tunnel(app_port, token=REAL_TOKEN) as tunnel:
        assert until(tunnel.answers)
        login = (tunnel.user, tunnel.password)
        headers = {"ngrok-skip-browser-warning": "1"}
        assert httpx.get(tunnel.url, headers=headers).status_code == 401
        assert httpx.get(tunnel.url, headers=headers, auth=login).content == INFO
