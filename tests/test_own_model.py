"""A model of another architecture, as docs/bring_your_own_model.md shows it, serves by --model."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from bad_requests import text
from hostile_images import encoded
from PIL import Image

from lab_utils.net import free_port
from lab_utils.predictors import LocalPredictor, RemotePredictor
from lab_utils.service.lambda_handler import LambdaHandler

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
def dark() -> bytes:
    return encoded(Image.new("L", (256, 256), 110))  # darker would be a photo in bad light


def test_the_apps_predictor_and_the_lambda_handler_read_with_it(toy, dark):
    predictor = LocalPredictor(toy)
    reading = predictor.read(dark)
    assert reading.text == "dark" and reading.lines[0].confidence == 1.0
    assert predictor.predict(Image.new("L", (300, 200), 255)) == "light"
    assert LambdaHandler(predictor, toy, log=len)({"image": text(dark)})["pred"] == "dark"


def test_the_command_line_asks_whether_you_trust_it(lab, refused, toy, dark, tmp_path, monkeypatch):
    (tmp_path / "dark.png").write_bytes(dark)
    monkeypatch.setenv("LAB_TRUST_MODEL", "")
    assert "--trust-model" in refused("read", tmp_path / "dark.png", "--model", toy)
    code, out, _ = lab("--trust-model", "read", tmp_path / "dark.png", "--model", toy)
    assert (code, out) == (0, "dark\n")


@pytest.mark.nightly
@pytest.mark.skipif(
    len(socket.if_nameindex()) > 1, reason="test_ray_service.py runs it in a network of its own"
)
def test_ray_serves_it(toy, dark):
    from lab_utils.service.ray_environment import prepare_ray

    prepare_ray()
    from lab_utils.service.ray_service import RaySettings, serving

    with serving(RaySettings(str(toy)), free_port()) as url, RemotePredictor(url) as predictor:
        assert predictor.predict(dark) == "dark"
