"""`lab demo`: one link through which a page is read by the app and the service behind it, and one
Ctrl-C after which nothing of it is left."""

import json
import os
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
from conftest import lab_process, parses
from tunnel_serving import DOMAIN, Edge, link_of, usual_ports_taken

from lab_utils.app import server
from lab_utils.service.emulator_binary import emulator_binary
from lab_utils.service.errors import ServiceError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def emulator() -> Path:
    try:
        return emulator_binary()
    except ServiceError as error:
        pytest.skip(str(error))


def with_emulator(edge: Edge, emulator: Path) -> None:
    place = edge.folder / "lab" / "cache" / "lambda-emulator"
    place.mkdir(parents=True)
    shutil.copy(emulator, place)


def demo(edge: Edge, *arguments, **variables):
    """`lab demo` as a process of its own, ended at the end."""
    variables = edge.variables | {"OMP_NUM_THREADS": "1"} | variables
    return lab_process("demo", *arguments, variables=variables)


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
    with demo(edge, *options, "--domain", DOMAIN) as lab:
        url, login = link_of(lab)
        assert url.startswith(f"https://{DOMAIN}") and login
        with edge.client(url, auth=login) as client:
            assert client.get("/").status_code == 200
            assert "gray" in read_through(client), "the stand-in's answer"
            # The app asks again until the function that has died is replaced.
            functions = [line for line in edge.left() if " -m awslambdaric " in line]
            assert functions
            for line in functions:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            assert "gray" in read_through(client)
        with edge.client(url) as client:
            assert client.get("/").status_code == 401
        assert len(edge.left()) > 3, "this test sees the processes"
        lab.send_signal(signal.SIGINT)
        out, err = lab.communicate(timeout=30)
        assert lab.returncode == 130 and edge.left() == []
    assert "good-token" not in out + err and "Traceback" not in err
    assert "without Lambda's emulator" not in err


def test_without_network_token_and_free_ports_it_runs_on_this_machine(edge, stand_in_path):
    """No emulator can be fetched, so the model runs in the process; the usual ports are taken."""
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    options = ("--model", stand_in_path, "--auth", "ada:secret")
    with usual_ports_taken(), demo(edge, *options, NGROK_AUTHTOKEN="", **pip) as lab:
        url, _ = link_of(lab)
        assert url.startswith("http://127.0.0.1:")
        assert not url.endswith(f":{server.DEFAULT_PORT}/")
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/gradio_api/info").status_code == 401
            client.post("/login", data={"username": "ada", "password": "secret"})
            assert "gray" in read_through(client)
        lab.terminate()
        out, said = lab.communicate(timeout=30)
    assert lab.returncode == 128 + signal.SIGTERM and "password" not in out
    assert "set NGROK_AUTHTOKEN" in said and "without Lambda's emulator" in said


# What cannot be


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--domain", "example.ngrok.app"], "NGROK_AUTHTOKEN"),
        (["--model", "none.pt"], "no model file"),
        (["--model", "MODEL", "--port", "TAKEN"], "can't be used"),
    ],
)
def test_what_cannot_be_is_one_line(lab, monkeypatch, tmp_path, stand_in_path, arguments, said):
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    for name in ("NGROK_AUTHTOKEN", "LAB_TUNNEL_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("lab_utils.demo.import_module", lambda name: None)  # takes seconds
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
