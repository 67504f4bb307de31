"""`lab demo`: one link through which a page is read by the app and the service behind it, and one
Ctrl-C after which nothing of it is left."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from app_serving import png, run, uri
from conftest import parses
from tunnel_serving import DOMAIN, Edge, resolve_localhost, until, usual_ports_taken

from lab_utils.app import server
from lab_utils.service import gateway
from lab_utils.service.emulator_binary import emulator_binary
from lab_utils.service.errors import ServiceError

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 120  # on a machine that does other things besides


@pytest.fixture(scope="module")
def emulator() -> Path:
    try:
        return emulator_binary()
    except ServiceError as error:
        pytest.skip(str(error))


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """ngrok's stand-in and an empty folder for the lab; afterwards none of the demo is left."""
    edge = Edge(tmp_path)
    resolve_localhost(monkeypatch)
    yield edge
    assert until(lambda: not edge.left(), 10), f"left behind: {edge.left()}"


def with_emulator(edge: Edge, emulator: Path) -> None:
    place = edge.folder / "lab" / "cache" / "lambda-emulator"
    place.mkdir(parents=True)
    shutil.copy(emulator, place)


class Demo:
    """`lab demo` as a process of its own, with what it has said."""

    def __init__(self, edge: Edge, *arguments, **variables) -> None:
        self.edge = edge
        self.out, self.err = edge.folder / "out", edge.folder / "err"
        environment = os.environ | edge.variables | {"OMP_NUM_THREADS": "1"} | variables
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lab_utils.cli", "demo", *map(str, arguments)],
                cwd=ROOT,
                env={name: value for name, value in environment.items() if value},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def said(self, pattern: str, seconds: float = MOST_SECONDS) -> re.Match:
        """Waits for something in its output."""
        found = []

        def there() -> bool:
            found[:] = re.finditer(pattern, self.out.read_text() + self.err.read_text())
            return bool(found) or self.process.poll() is not None

        until(there, seconds)
        assert found, self.out.read_text() + self.err.read_text()
        return found[-1]

    def link(self) -> tuple[str, tuple[str, str] | None]:
        url = self.said(r"The link: (\S+)")[1]
        asks = re.search(r"the name (\S+) and the password (\S+)", self.out.read_text())
        return url, asks and (asks[1], asks[2])

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def read_through(client: httpx.Client) -> str:
    answer = run(client, "predict", {"url": uri(png())})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"][0]


# The whole way


def test_a_page_is_read_through_link_app_and_service_and_ctrl_c_ends_all(
    edge, emulator, stand_in_path
):
    with_emulator(edge, emulator)
    options = ("--model", stand_in_path, "--port", 0)
    with Demo(edge, *options, "--domain", DOMAIN) as lab:
        url, login = lab.link()
        assert url.startswith(f"https://{DOMAIN}") and login
        assert "Lambda's emulator" in lab.err.read_text()
        with edge.client(url, auth=login) as client:
            assert client.get("/").status_code == 200
            text = read_through(client)
            assert "gray" in text, "the stand-in's answer"

            # A function that dies is replaced; the app asks again meanwhile.
            functions = [line for line in edge.left() if " -m awslambdaric " in line]
            assert functions
            for line in functions:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            assert read_through(client) == text

            # So is the agent.
            (agent,) = edge.agents()
            os.kill(agent, signal.SIGKILL)
            lab.said("The tunnel is open again")
            assert read_through(client) == text
        with edge.client(url) as client:
            assert client.get("/").status_code == 401
        assert len(edge.left()) > 3, "this test sees the processes"
        assert lab.end(signal.SIGINT) == 130
        assert edge.left() == []
    assert "good-token" not in lab.out.read_text() + lab.err.read_text()
    assert "Traceback" not in lab.err.read_text()


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_however_it_ends(edge, emulator, stand_in_path, number):
    """kill -9 when all is open, SIGTERM while it starts."""
    with_emulator(edge, emulator)
    options = ("--model", stand_in_path, "--port", 0)
    with Demo(edge, *options) as lab:
        if number == signal.SIGKILL:
            lab.link()
        else:
            lab.said("model ")
            assert until(lambda: any("process.py" in line for line in edge.left()), 60)
        ended = lab.end(number)
        assert ended == (-number if number == signal.SIGKILL else 128 + number)
        assert until(lambda: not edge.left(), 10), edge.left()
    assert "Traceback" not in lab.err.read_text()


def test_without_network_token_and_free_ports_it_runs_on_this_machine(edge, stand_in_path):
    """No emulator can be fetched, so the model runs in the process; the usual ports are taken."""
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    options = ("--model", stand_in_path, "--auth", "ada:secret")
    with usual_ports_taken(), Demo(edge, *options, NGROK_AUTHTOKEN="", **pip) as lab:
        url, login = lab.link()
        assert url.startswith("http://127.0.0.1:") and login is None
        said = lab.err.read_text()
        for line in (
            "set NGROK_AUTHTOKEN, or give --ssh USER@HOST",
            f"Port {server.DEFAULT_PORT} is taken",
            f"Port {gateway.DEFAULT_PORT} is taken",
            "without Lambda's emulator",
        ):
            assert line in said
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/gradio_api/info").status_code == 401
            client.post("/login", data={"username": "ada", "password": "secret"})
            assert "gray" in read_through(client)
        assert lab.end(signal.SIGTERM) == 128 + signal.SIGTERM


# What cannot be


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--domain", "example.ngrok.app"], "NGROK_AUTHTOKEN"),
        (["--auth", "no-colon"], "NAME:PASSWORD"),
        (["--model", "none.pt"], "no model file"),
        (["--model", "MODEL", "--port", "TAKEN"], "can't be used"),
    ],
)
def test_what_cannot_be_is_one_line(lab, monkeypatch, tmp_path, stand_in_path, arguments, said):
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    for name in ("NGROK_AUTHTOKEN", "LAB_TUNNEL_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("lab_utils.demo._load_app_meanwhile", lambda: None)
    handler = signal.getsignal(signal.SIGTERM)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"MODEL": stand_in_path, "TAKEN": taken.getsockname()[1]}
        code, out, err = lab("demo", *(values.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    (line,) = (line for line in err.splitlines() if line.startswith("lab: "))
    assert said in line
    assert signal.getsignal(signal.SIGTERM) == handler


# The demo that stays: deploy/compose.yaml

COMPOSE = ROOT / "deploy" / "compose.yaml"
PRINT = shlex.quote("import json, sys; print(json.dumps(sys.argv[1:]))")


def command_of(service: dict) -> str:
    """What a container runs, as `lab ...`; compose's `$$` is the shell's `$`."""
    words = [*service["entrypoint"], *service.get("command", [])]
    if words[:2] == ["sh", "-c"]:
        line = words[2].replace("$$", "$")
        script = line.replace("exec python3", f"{shlex.quote(sys.executable)} -S -c {PRINT}")
        environment = {"PATH": os.environ["PATH"], "NGROK_DOMAIN": "a.example.org"}
        words = json.loads(subprocess.check_output(["sh", "-c", script], env=environment))
    return shlex.join(["lab", *words[words.index("lab_utils.cli") + 1 :]])


def test_each_container_runs_the_lab_bounded_and_open_to_this_machine_only():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert set(services) == {"network", "service", "app", "tunnel"}
    for name in ("service", "tunnel"):
        parses(command_of(services[name]))
    assert "--domain a.example.org" in command_of(services["tunnel"])
    assert "entrypoint" not in services["app"], "the image's own"
    for name, service in services.items():
        assert service["restart"] == "unless-stopped" and service["healthcheck"]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["mem_limit"] and service["pids_limit"]
        mounted = [one.split(":")[1] for one in service.get("volumes", [])]
        written = service.get("tmpfs", []) + mounted
        assert "/data" in written, "else the image makes a volume without a name each time"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert name == "network" or service["network_mode"] == "service:network"
    for name in ("NGROK_AUTHTOKEN", "LAB_TUNNEL_AUTH"):
        secret = services["tunnel"]["environment"][name]
        assert secret.startswith(f"${{{name}:?"), "no start without it"
