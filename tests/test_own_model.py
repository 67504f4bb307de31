"""A model of another architecture, as docs/bring_your_own_model.md shows it, serves by --model."""

import base64
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from lab_utils.predictors import LocalPredictor
from lab_utils.predictors.remote import RemotePredictor

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "bring_your_own_model.md"


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """The file that the code on the page writes."""
    folder = tmp_path_factory.mktemp("toy")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = code.replace('"toy.pt"', repr(str(folder / "toy.pt")))
    # TorchScript reads the source of a class from its file.
    (folder / "toy_module.py").write_text(f"import torch\nfrom torch import Tensor, nn\n\n\n{code}")
    subprocess.run([sys.executable, "-W", "ignore", folder / "toy_module.py"], check=True)
    return folder / "toy.pt"


@pytest.fixture
def dark() -> Image.Image:
    return Image.new("L", (256, 256), 110)  # darker would be a photo in bad light


def test_the_apps_predictor_reads_with_it(toy, dark):
    reading = LocalPredictor(toy).read(dark)
    assert reading.text == "dark" and reading.lines[0].confidence == 1.0
    assert LocalPredictor(toy).predict(Image.new("L", (300, 200), 255)) == "light"


def test_the_command_line_asks_whether_you_trust_it(lab, toy, dark, tmp_path, monkeypatch):
    dark.save(tmp_path / "dark.png")
    monkeypatch.setenv("LAB_TRUST_MODEL", "")
    assert lab("read", tmp_path / "dark.png", "--model", toy)[0] == 2
    code, out, _ = lab("--trust-model", "read", tmp_path / "dark.png", "--model", toy)
    assert (code, out) == (0, "dark\n")


def test_the_lambda_handler_answers_with_it(toy, dark):
    stream = io.BytesIO()
    dark.save(stream, "PNG")
    event = {"image": base64.b64encode(stream.getvalue()).decode()}
    program = (
        "import json, sys\nfrom lab_utils.service.lambda_handler import handler\n"
        "print(json.dumps(handler(json.load(sys.stdin), None)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=json.dumps(event),
        env=os.environ | {"LAB_MODEL": str(toy), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["pred"] == "dark"


@pytest.mark.nightly
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_serves_it(toy, dark):
    command = [sys.executable, "-m", "lab_utils.cli", "--trust-model", "service", "ray"]
    running = subprocess.Popen(
        [*command, "--port", "0", "--model", str(toy)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    silence = threading.Timer(300, running.kill)
    silence.start()
    try:
        url = next(filter(None, (re.search(r"http://127\S+:\d+", line) for line in running.stdout)))
        with RemotePredictor(url[0]) as predictor:
            assert predictor.predict(dark) == "dark"
    finally:
        silence.cancel()
        running.send_signal(signal.SIGINT)
        running.wait(timeout=60)
