"""The function's image, really built without Docker and run under AWS's emulator.

Takes several minutes, root, mmdebstrap and buildah, so only LAB_TEST_IMAGE=1 asks for it:

    LAB_TEST_IMAGE=1 python -m pytest tests/test_deploy_image.py -s

LAB_TEST_IMAGE=built tests the image that such a run has left.
"""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from conftest import free_port

from lab_utils.net import http_client
from lab_utils.service.function_url import event_of
from text_recognizer.places import SAMPLE_PAGES, lab_folder, project_folder

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        os.environ.get("LAB_TEST_IMAGE") not in ("1", "built"),
        reason="builds an image for minutes: LAB_TEST_IMAGE=1 asks for it",
    ),
]

IMAGE = "localhost/text-recognizer:latest"
IMAGES = Path(os.environ.get("IMAGES") or lab_folder() / "images").resolve()
ENVIRONMENT = os.environ | {
    "PYTHON": sys.executable,
    "IMAGES": str(IMAGES),
    "CONTAINERS_STORAGE_CONF": str(IMAGES / "storage.conf"),
    "STORAGE_DRIVER": "vfs",
    "BUILDAH_ISOLATION": "chroot",
}


def buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", *arguments], env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def container():
    """A container of the image, built from what the project holds now."""
    from lab_utils.model import packaged_model

    packaged_model()  # compiled where it is missing
    if os.environ["LAB_TEST_IMAGE"] == "1":
        script = project_folder() / "deploy" / "build_without_docker.sh"
        subprocess.run([script], env=ENVIRONMENT, check=True)
    name = buildah("from", "--pull-never", IMAGE)
    yield name
    buildah("rm", name)


@pytest.fixture(scope="module")
def emulator(container, tmp_path_factory):
    """The address of the image's function in the emulator, which is no part of the image."""
    from lab_utils.service.emulator_binary import emulator_binary

    port, api = free_port(), free_port()
    log = tmp_path_factory.mktemp("emulator") / "log"
    command = ["buildah", "run", "--volume", f"{emulator_binary()}:/tmp/emulator:ro", container]
    command += ["--", "/tmp/emulator", "--runtime-interface-emulator-address"]
    command += [f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{api}"]
    command += ["python3", "-m", "awslambdaric", "lab_utils.service.lambda_entry.handler"]
    with log.open("w") as file:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=file)
        try:
            yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations", log
        finally:
            process.terminate()
            process.wait(30)


def post(address: str, document: dict) -> dict:
    """The function's answer to a request; waits for an emulator that is just starting."""
    headers = [("content-type", "application/json")]
    event = event_of("POST", "/", "", headers, json.dumps(document).encode(), "")
    end = time.monotonic() + 60
    with http_client(60, local=True) as client:
        while True:
            try:
                return client.post(address, content=event).json()
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.2)


def test_the_image_reads_a_page_as_the_recognizer_here_does(emulator):
    from lab_utils.model import packaged_model
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    address, log = emulator
    page = SAMPLE_PAGES / "show_font_000.jpg"
    body = {"image": base64.b64encode(page.read_bytes()).decode(), "lines": True}
    answer = post(address, body)
    assert answer["statusCode"] == 200, answer
    here = ParagraphTextRecognizer(packaged_model()).predict(page)
    assert json.loads(answer["body"])["pred"] == here
    refused = post(address, {"image_url": "http://169.254.169.254/"})
    assert refused["statusCode"] == 422
    assert "NumPy" not in log.read_text()


def test_nobody_runs_it_and_nothing_to_build_or_train_with_is_in_it(container):
    def run(*command: str) -> str:
        return buildah("run", container, "--", *command)

    assert run("id", "-u") == "65534"
    tools = "for tool in gcc cc make git curl pip pip3; do command -v $tool; done; true"
    assert run("sh", "-c", tools) == ""
    names = ["pytorch_lightning", "wandb", "gradio", "numpy", "boto3", "pip", "setuptools"]
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert run("python3", "-c", code) == "[]"
    # Nobody can write there, as on Lambda.
    listed = run("sh", "-c", "touch /var/task/new 2>&-; ls /var/task").split()
    assert listed == ["LICENSE", "NOTICE", "data", "lab_utils", "model.pt", "text_recognizer"]
