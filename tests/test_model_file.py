"""Which model file is read with, and which files are refused before PyTorch sees them."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import StandInReader, save_script
from safetensors.torch import load_file, save_file
from torch import nn

from lab_utils.model import model_file, packaged_model
from text_recognizer.errors import ModelFileError
from text_recognizer.model_file import (
    compiled_model_path,
    fetched_model_path,
    packaged_model_path,
    wrong_weights,
)
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.train.checkpoint import load_reader_checkpoint
from text_recognizer.weights import FINDER, load_paragraph_reader, packaged_weights

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def untrusting(monkeypatch):
    """As outside the tests, which trust their stand-in models."""
    monkeypatch.delenv("LAB_TRUST_MODEL")


def test_named_comes_before_lab_model_before_fetched_before_packaged(
    home, monkeypatch, capsys, stand_in_path, tmp_path
):
    packaged = model_file()
    assert packaged == compiled_model_path() == packaged_model()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "packaged" in said
    fetched = fetched_model_path()
    fetched.parent.mkdir(parents=True)
    shutil.copyfile(stand_in_path, fetched)
    assert ParagraphTextRecognizer().model.tokens == ParagraphTextRecognizer(fetched).model.tokens
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(fetched) in said
    assert packaged_model() == packaged, "notebooks read with the packaged model all the same"
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    assert str(model_file()) == stand_in_path
    assert model_file(packaged) == packaged
    assert capsys.readouterr().err == "", "what you name yourself needs no line"
    with pytest.raises(ModelFileError, match="no model file"):
        model_file(tmp_path / "none.pt")


def test_the_packaged_model_is_compiled_again_if_missing_stale_or_damaged(home):
    lines = []
    path = packaged_model_path(lines.append)
    os.utime(path, (0, 0))
    packaged_model_path(lines.append)
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 256):  # not only in a gap of the file
        content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged"):
        ParagraphTextRecognizer(path)
    ParagraphTextRecognizer(packaged_model_path(lines.append))
    packaged_model_path(lines.append)
    for line, word in zip(lines, ("compiling", "older", "damaged", "reading"), strict=True):
        assert word in line


class Spy(StandInReader):
    """A reader whose file runs code while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> tuple[dict[str, int], bool]:
        return self.ids, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[dict[str, int], bool]) -> None:
        self.ids, self.training = state
        self.ignored = [torch.from_file("SPRUNG", shared=True, size=4).numel()]
        self.format, self.tokens = "", [""]


def test_foreign_code_never_runs_unless_you_trust_it(
    tmp_path, untrusting, monkeypatch, stand_in_path, model_path
):
    monkeypatch.chdir(tmp_path)
    path = save_script(Spy(), tmp_path / "spy.pt")
    renamed = tmp_path / "renamed.pt"  # PyTorch finds members whatever their case
    with zipfile.ZipFile(path) as spy, zipfile.ZipFile(renamed, "w") as archive:
        for name in spy.namelist():
            archive.writestr(name.replace("/code/", "/Code/"), spy.read(name))
    for foreign in (path, renamed, stand_in_path):
        with pytest.raises(ModelFileError, match=r"--trust-model.*LAB_TRUST_MODEL=1"):
            ParagraphTextRecognizer(foreign)
    assert not (tmp_path / "SPRUNG").exists()
    ParagraphTextRecognizer(model_path)  # compiled in another process, or for the second time
    monkeypatch.setenv("LAB_TRUST_MODEL", "1")
    assert ParagraphTextRecognizer(stand_in_path).model.tokens
    with pytest.raises(ModelFileError):
        ParagraphTextRecognizer(path)
    assert (tmp_path / "SPRUNG").exists(), "this file does run code, and nothing else held it back"


def test_the_noted_code_and_digests_are_those_of_this_version(home, monkeypatch):
    if (
        f"torch=={torch.__version__.partition('+')[0]}"
        not in (ROOT / "constraints.txt").read_text()
    ):
        pytest.skip("the code is that of the pinned PyTorch")
    again = "run `python -m text_recognizer.compile`, and commit what it writes"
    assert wrong_weights() == [], again
    packaged_model()
    assert not (home / "models" / "code.json").exists(), again


class NotFinite(StandInReader):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float("nan")]))


def test_weights_that_are_not_finite_or_not_as_packaged_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="not finite"):
        ParagraphTextRecognizer(save_script(NotFinite(), tmp_path / "nan.pt"))
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in packaged_weights().glob("*s*"):
        (folder / file.name).write_bytes(file.read_bytes())
    load_paragraph_reader(folder)
    content = bytearray((folder / FINDER).read_bytes())
    content[-1] ^= 1
    (folder / FINDER).write_bytes(content)
    with pytest.raises(ModelFileError, match="not those that were packaged"):
        load_paragraph_reader(folder)
    state = load_file(folder / FINDER)
    name = next(name for name in state if state[name].is_floating_point())
    state[name].view(-1)[0] = float("inf")
    save_file(state, folder / FINDER)
    (folder / "digests.json").unlink()
    with pytest.raises(ModelFileError, match="not finite"):
        load_paragraph_reader(folder)


def test_archives_that_unpack_to_far_more_than_they_are_are_refused(tmp_path):
    bomb = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(50_000_000))
        archive.writestr("bomb/version", "3\n")
    for load in (load_reader_checkpoint, ParagraphTextRecognizer):
        with pytest.raises(ModelFileError):
            load(bomb)
