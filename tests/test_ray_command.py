"""`lab service ray`: what it says, how it takes a new model, and how it ends."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from lab_utils.predictors import RemotePredictor
from lab_utils.service import ray_service
from lab_utils.service.ray_service import RayService
from lab_utils.service.ray_settings import Settings
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import PROJECT, SAMPLE_PAGES

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: python -m pip install '.[ray]'",
)
needs_network = pytest.mark.skipif(
    not ray_service.has_private_networks(),
    reason="Ray listens on all addresses, and this machine has no private network to put it into",
)


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lab_utils.cli", "service", "ray", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(running: subprocess.Popen, word: str) -> str:
    """The next line that holds a word; the test fails where the command ends or goes silent."""
    silence = threading.Timer(180, running.kill)
    silence.start()
    try:
        for line in running.stdout:
            if word in line:
                return line
    finally:
        silence.cancel()
    raise AssertionError(running.stderr.read())


def folders() -> set[str]:
    """The folders of running services."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("lab-ray-*")}


@needs_ray
@needs_network
@pytest.mark.slow
def test_it_serves_takes_another_model_and_ends_on_ctrl_c(model_path, stand_in_path, tmp_path):
    model = tmp_path / "model.pt"
    shutil.copyfile(model_path, model)
    sample = next(SAMPLE_PAGES.glob("show_font_*.jpg"))
    running = start("--port", 0, "--model", model)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", told(running, "http"))[0]
        with RemotePredictor(url) as predictor:
            assert predictor.predict(sample) == ParagraphTextRecognizer(model_path).predict(sample)
            model.write_bytes(b"damaged")
            running.send_signal(signal.SIGHUP)
            assert "stays as it is" in told(running, "model")
            shutil.copyfile(stand_in_path, model)
            running.send_signal(signal.SIGHUP)
            assert "anew" in told(running, "model")
            stand_in = ParagraphTextRecognizer(stand_in_path).predict(sample)
            assert predictor.predict(sample) == stand_in
    finally:
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


@needs_ray
@needs_network
def test_ctrl_c_while_it_starts_leaves_nothing_behind(stand_in_path):
    before = folders()
    running = start("--port", 0, "--model", stand_in_path)
    told(running, "starts")
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "")
    assert folders() <= before


def test_without_ray_it_says_what_to_install(lab, monkeypatch, stand_in_path):
    monkeypatch.setattr(ray_service.importlib.util, "find_spec", lambda _name: None)
    code, _, errors = lab("service", "ray", "--model", stand_in_path)
    assert (code, errors.count("\n")) == (2, 1)
    assert "pip install '.[ray]'" in errors


@needs_ray
def test_without_a_private_network_it_wants_to_be_asked(lab, monkeypatch, stand_in_path):
    monkeypatch.setattr(ray_service, "has_private_networks", lambda: False)
    code, _, errors = lab("service", "ray", "--port", 0, "--model", stand_in_path)
    assert (code, errors.count("\n")) == (2, 1)
    assert "--allow-open-ports" in errors


@needs_ray
def test_a_taken_port_is_one_line(lab, stand_in_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = lab("service", "ray", "--port", port, "--model", stand_in_path)
    assert code == 2
    assert "another port" in errors


@needs_ray
def test_a_missing_model_is_one_line(lab, tmp_path):
    code, _, errors = lab("service", "ray", "--port", 0, "--model", tmp_path / "none.pt")
    assert code == 2
    assert "lab compile" in errors


@needs_ray
def test_a_process_that_fails_is_told_with_its_last_words(stand_in_path):
    words = "import sys; sys.stdin.readline(); sys.exit('no room for Ray')"
    service = RayService(Settings(stand_in_path), program=["-c", words])
    if not ray_service.has_private_networks():
        pytest.skip("it is refused earlier here")
    with pytest.raises(ray_service.RayServiceError, match="no room for Ray"):
        service.start()
