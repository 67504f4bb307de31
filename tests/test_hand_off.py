"""The lab's whole way as one test: data, gradient steps, checkpoint, TorchScript, upload, download
in a process that has only torch and Pillow, text. A link that breaks fails it by its name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lab_tracker as tracking
from lab_tracker.errors import TrackingError
from lab_utils import staging
from lab_utils.staging import pipeline
from text_recognizer.errors import RecognizerError

ROOT = Path(__file__).resolve().parents[1]
LINKS = [
    *("data", "train", "checkpoint"),
    *("find", "download checkpoint", "compile", "parity", "upload", "verify"),
    *("download", "read"),
]
UNWANTED = {"pytorch_lightning", "lightning", "wandb", "numpy", "torchmetrics", "safetensors"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY"):
            patch.delenv(name, raising=False)
        patch.setenv("LAB_HOME", str(folder))
        with tracking.connect():
            yield folder


@pytest.fixture(scope="module")
def handed_off(home, tmp_path_factory):
    return staging.hand_off(steps=1, out=tmp_path_factory.mktemp("out") / "model.pt")


def test_a_model_goes_from_data_to_text_link_by_link(handed_off):
    assert list(handed_off.seconds) == LINKS
    assert len(handed_off.pages) == 3
    assert sum(page.cer for page in handed_off.pages) / 3 < 0.1
    for page in handed_off.pages:
        assert page.lines == page.item.text.count("\n") + 1 and page.seconds > 0
    assert {"torch", "PIL"} <= set(handed_off.modules)
    assert not set(handed_off.modules) & UNWANTED


def test_what_arrives_is_what_was_staged(handed_off):
    assert handed_off.file.stat().st_size == handed_off.staged.bytes
    assert handed_off.staged.checkpoint == handed_off.trained.name
    assert handed_off.staged.ratio <= 0.4
    lineage = staging.lineage(handed_off.staged.name)
    assert lineage.is_complete and lineage.training_run.id == handed_off.trained.run_id


# Links that break


@pytest.fixture
def made(handed_off, monkeypatch):
    """Lets the first two thirds of the chain give what they gave before."""
    monkeypatch.setattr(pipeline, "train", lambda *_, **__: handed_off.trained)
    monkeypatch.setattr(pipeline, "stage", lambda *_, **__: handed_off.staged)
    return handed_off


@pytest.mark.parametrize(
    ("function", "link", "error", "kind"),
    [
        ("train", "train", RecognizerError("no lines"), staging.StagingError),
        ("train", "data", TrackingError("the disk is full"), staging.StagingError),
        ("stage", "compile", ZeroDivisionError("0"), RuntimeError),
    ],
)
def test_a_broken_link_is_named(made, monkeypatch, function, link, error, kind):
    def broken(*_, on_step, **__):
        on_step(link)
        raise error

    monkeypatch.setattr(pipeline, function, broken)
    with pytest.raises(kind, match=f"^{link}: .*{error}"):
        staging.hand_off()


def test_a_broken_download_is_named(made, home, tmp_path):
    blobs = (home / "wandb" / "blobs").rglob("*")
    [blob] = [path for path in blobs if path.stat().st_size == made.staged.bytes]
    content = blob.read_bytes()
    try:
        blob.write_bytes(content[:-1] + b"?")
        with pytest.raises(staging.StagingError, match="^download: .*damaged"):
            staging.hand_off(out=tmp_path / "model.pt")
    finally:
        blob.write_bytes(content)
    assert list(tmp_path.iterdir()) == []


def test_a_far_end_that_dies_is_named(made, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="^download: "):
        staging.hand_off(out=tmp_path / "out.pt")


# The command


def assert_told(out: str) -> None:
    """The links with their seconds, and the pages with their CER."""
    assert re.findall(r"^(\w[\w ]*?) +[\d.]+ s$", out, re.MULTILINE) == LINKS
    rates = re.findall(r"[\d.]+ s, \d+ lines, CER ([\d.]+)", out)
    assert len(rates) == 3 and sum(map(float, rates)) / 3 < 0.1


def test_lab_run_tells_links_and_pages(handed_off, lab, monkeypatch):
    def hand_off(on_link, **_):
        for link, seconds in handed_off.seconds.items():
            on_link(link, seconds)
        return handed_off

    monkeypatch.setattr(pipeline, "hand_off", hand_off)
    code, out, err = lab("run")
    assert (code, err) == (0, "")
    assert_told(out)


@pytest.mark.nightly
def test_lab_run_in_a_process_of_its_own(tmp_path):
    environment = {k: v for k, v in os.environ.items() if "WANDB" not in k}
    done = subprocess.run(
        [sys.executable, "-m", "lab_utils.cli", "run"],
        cwd=ROOT,
        env=environment | {"LAB_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_told(done.stdout)
