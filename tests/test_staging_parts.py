"""Staging without a tracker: scripts, parity, checkpoints of all kinds, downloads, drawings."""

import errno
import hashlib
import os
import pickle
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lab_tracker.lineage import draw
from lab_utils import staging
from lab_utils.staging import files
from lab_utils.staging.lineage import Lineage, graph
from lab_utils.staging.parity import compare
from lab_utils.staging.tracker import Tracker
from text_recognizer.errors import ModelFileError
from text_recognizer.evaluate import load_items
from text_recognizer.files import replacing
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.train.checkpoint import load_reader_checkpoint
from text_recognizer.train.finder import FinderTraining
from text_recognizer.train.fine_tune import fine_tune, train_briefly
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.sample_lines import SampleLines

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return train_briefly(tmp_path_factory.mktemp("brief") / "a.ckpt", steps=1, pages=1, lines=2)


@pytest.fixture(scope="module")
def script(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / "paragraph_reader.pt"
    load_reader_checkpoint(checkpoint).to_torchscript(path)
    return path


@pytest.fixture(scope="module")
def shown() -> list:
    return load_items(SAMPLE_PAGES, split="show", limit=3)


# From checkpoint to script


def test_the_script_reads_as_the_module(checkpoint, script, shown):
    eager = load_reader_checkpoint(checkpoint).paragraph_reader()
    parity = compare(eager, ParagraphTextRecognizer(script).model, shown)
    assert parity.holds and parity.pages_that_differ == [] and parity.lines >= 3
    assert parity.largest_logit_difference < 1e-3 and parity.cer < 0.1


@pytest.mark.parametrize("shift", [30.0, float("nan")])
def test_parity_fails_if_other_weights_read(checkpoint, script, shown, shift):
    """No tolerance lets NaN through."""
    training = load_reader_checkpoint(checkpoint)
    with torch.no_grad():
        training.reader.head.bias[5] += shift
    model = ParagraphTextRecognizer(script).model
    tolerance = 1e9 if shift != shift else 1e-2
    parity = compare(training.paragraph_reader(), model, shown[2:], tolerance)
    assert not parity.holds and parity.pages_that_differ == [shown[2].file]
    assert parity.largest_logit_difference == pytest.approx(shift, abs=0.1, nan_ok=True)


# Checkpoints


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def foreign(kind: str, path: Path) -> Path:
    """A file that is not a checkpoint of the line reader."""
    training = FinderTraining() if kind == "another network" else ReaderTraining()
    state, config = training.state_dict(), {}
    if kind == "not finite":
        state["reader.head.bias"][0] = float("inf")
    torch.save({"state_dict": state, "hyper_parameters": config}, path)
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:100_000])
    if kind == "a bomb":
        path.write_bytes(pickle.dumps(Bomb()))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another network", "another model"),
        ("not finite", "not finite"),
        ("cut short", "no Lightning checkpoint"),
        ("a bomb", "no Lightning checkpoint"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_sentence(kind, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match=message):
        load_reader_checkpoint(foreign(kind, tmp_path / "x.ckpt"))
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(ModelFileError, match="There is no checkpoint"):
        load_reader_checkpoint(tmp_path / "none.ckpt")


def test_the_checkpoint_kept_is_that_of_the_lowest_cer(tmp_path, monkeypatch):
    rates = iter([0.5, 0.2, 0.4])

    def on_validation_epoch_end(self):
        self.log("cer", next(rates))

    monkeypatch.setattr(ReaderTraining, "on_validation_epoch_end", on_validation_epoch_end)
    data = SampleLines(
        lines=2, batches_per_epoch=1, train_pages=1, validation_pages=1, max_width=256
    )
    tuned = fine_tune(data, tmp_path / "x.ckpt", steps=3, learning_rate=1e-5)
    assert (tuned.cer, tuned.step) == (pytest.approx(0.2), 2)
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.nightly
def test_the_same_training_gives_the_same_bytes(checkpoint, tmp_path):
    again = train_briefly(tmp_path / "b.ckpt", steps=1, pages=1, lines=2)
    assert again.read_bytes() == checkpoint.read_bytes()


# Downloads

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def fetched(url: str, target: Path, size: int = len(CONTENT), digest: str = DIGEST) -> None:
    files.download(url, target, size, digest)


def status(code: int):
    return lambda connection, _: connection.sendall(f"HTTP/1.1 {code} X\r\n\r\n".encode())


def cut_off(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
    connection.sendall(CONTENT[:1000])


def other_bytes(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT[::-1])


def more_bytes(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT + b"x")


def to_a_file(connection, _):
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(404), "could not be downloaded"),
        (cut_off, "1000 of 1280000 bytes"),
        (other_bytes, "is damaged"),
        (more_bytes, "more than 1280000 bytes"),
        (to_a_file, "could not be downloaded"),
    ],
)
def test_a_bad_download_changes_nothing(serve, tmp_path, answer, message):
    target = tmp_path / "model.pt"
    target.write_bytes(b"what was there")
    with pytest.raises(staging.StagingError, match=message) as error:
        fetched(serve(answer).url, target)
    assert "\n" not in str(error.value)
    assert target.read_bytes() == b"what was there" and list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(serve, tmp_path, monkeypatch):
    with pytest.raises(staging.StagingError, match="outside the tracker"):
        fetched("file:///etc/passwd", tmp_path / "x")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(staging.StagingError, match="cannot be written"):
        fetched(serve(CONTENT).url, tmp_path / "file" / "model.pt")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(staging.StagingError, match="disk full.*free some space"):
        fetched(serve(CONTENT).url, tmp_path / "model.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_full_disk_is_named_with_its_place(tmp_path):
    with pytest.raises(OSError) as full, replacing(tmp_path / "model.pt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert full.value.filename == str(tmp_path / "model.pt")
    said = "requesting upload URLs failed: returned error 413: database or disk is full"
    error = pytest.raises(staging.StagingError, match="http://.* is full; free")
    with error, Tracker("full").asking():
        raise ValueError(said)


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\..\\..\\x", "", "x\0y"],
)
def test_paths_that_leave_the_folder_are_refused(path):
    files.check_paths(["model.pt", "a/b.txt", "..a"])
    with pytest.raises(staging.StagingError, match="leads out of its folder"):
        files.check_paths(["model.pt", path])


# Drawings

MADE = "2026-01-02T03:04:05Z"


def version(name: str, type: str, **metadata) -> SimpleNamespace:
    """A stand-in for the SDK's artifact."""
    return SimpleNamespace(
        name=name,
        type=type,
        aliases=["v0", "latest"],
        source_version="v0",
        created_at=MADE,
        size=13_000_000,
        metadata=metadata,
    )


def a_run(id: str, **summary) -> SimpleNamespace:
    """A stand-in for the SDK's run."""
    config = {"steps": 8, "learning_rate": 1e-5}
    return SimpleNamespace(id=id, state="finished", created_at=MADE, config=config, summary=summary)


WHOLE = Lineage(
    version("paragraph-reader:v0", "prod-ready", metrics={"score": 0.0123}),
    a_run("<stage>&1", pages_that_differ=[], pages=3, largest_logit_difference=1e-5),
    version("line-reader:v0", "model", score=0.0123),
    a_run("train1", cer=0.0123),
    version("sample-pages:v0", "dataset", lines={"train": 12}),
)
CUT = Lineage(WHOLE.staged, WHOLE.staging_run)


def test_a_lineage_is_a_table():
    table = WHOLE.table()
    for line, step in zip(table.splitlines()[1:], WHOLE.steps, strict=True):
        assert line.startswith(step.what)
    assert "CER 0.0123" in table and "steps 8" in table and "12 lines" in table
    assert WHOLE.is_complete and not CUT.is_complete
    assert CUT.table().count("deleted, or never recorded") == 3


def test_a_lineage_is_drawn_and_runs_differ_in_shape():
    nodes, edges = graph([WHOLE, CUT], lambda step: step.name, lambda step: step.facts)
    root = ElementTree.fromstring(draw(nodes, edges, "Lineage", "Two rows"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img" and root.find(f"{space}desc").text == "Two rows"
    texts = " ".join(text.text or "" for text in root.iter(f"{space}text"))
    for name in ("line-reader:v0", "<stage>&1", "train1", "not there"):
        assert name in texts
    boxes = [group for group in root.iter(f"{space}g") if "node" in (group.get("class") or "")]
    shapes = {group.get("class").split()[1]: group for group in boxes}
    assert shapes["run"].find(f"{space}polygon") is not None
    assert shapes["artifact"].find(f"{space}rect") is not None
