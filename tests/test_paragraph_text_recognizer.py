"""The class that services use: what reaches the network, what comes back, and every bad input.

Most tests run a stand-in for the network (conftest.StandInReader), which writes down the size and
the mean gray of the page it was shown; the last ones run the packaged model.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import StandInReader, save_script
from PIL import Image, ImageDraw
from torch import nn

from text_recognizer import limits
from text_recognizer.errors import (
    AddressError,
    DeviceError,
    ImageError,
    ModelFileError,
)
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer, main

PROJECT = Path(__file__).parents[1]


def page(width=300, height=200, paper=220):
    image = Image.new("L", (width, height), paper)
    # Long enough that it is no small part of the page, which would be shown larger.
    ImageDraw.Draw(image).line((width // 4, height // 2, width // 8 * 7, height // 2), 20, 3)
    return image


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def recognizer(stand_in_path):
    return ParagraphTextRecognizer(stand_in_path, allow_private_addresses=True)


@pytest.fixture(scope="module")
def packaged(model_path):
    return ParagraphTextRecognizer(model_path)


def size_read(text):
    return text.partition("\n")[0]


def test_one_page(recognizer):
    size, gray = recognizer.predict(page()).split("\n")
    assert size == "300x200"
    assert 210 < int(gray.removeprefix("gray ")) < 220


def test_batch_keeps_order_sizes_and_contents(recognizer):
    sizes = [(300, 200), (40, 500), (900, 30), (301, 200), (64, 64)] * 4
    images = [page(w, h, paper=100 + 5 * i) for i, (w, h) in enumerate(sizes)]
    assert len(images) > limits.MAX_BATCH
    texts = recognizer.predict_batch(images)
    assert [size_read(text) for text in texts] == [f"{w}x{h}" for w, h in sizes]
    assert texts == [recognizer.predict(image) for image in images]
    assert recognizer.predict_batch(reversed(images)) == texts[::-1]
    assert [reading.text for reading in recognizer.read_batch(images)] == texts
    assert recognizer.predict_batch([]) == recognizer.read_batch([]) == []


def test_blank_page_is_the_empty_string_and_a_bad_image_in_a_batch_is_named(recognizer):
    blank = Image.new("L", (200, 100), 255)
    reading = recognizer.read(blank)
    assert (reading.text, reading.lines) == ("", [])
    texts = recognizer.predict_batch([blank, page(), blank])
    assert [size_read(text) for text in texts] == ["", "300x200", ""]
    with pytest.raises(ImageError, match="Image 10 of 11: The image is empty"):
        recognizer.predict_batch([page()] * 9 + [b"", page()])


def test_long_batches_are_split(stand_in_path):
    recognizer = ParagraphTextRecognizer(stand_in_path)
    seen = []
    read = recognizer.model.read_lines
    recognizer.model = SimpleNamespace(
        read_lines=lambda pages, sizes: seen.append(len(pages)) or read(pages, sizes)
    )
    recognizer.predict_batch([page()] * (2 * limits.MAX_BATCH + 3))
    # What is doubtful, as all is here, is looked at once more, by itself.
    assert [count for count in seen if count > 1] == [limits.MAX_BATCH, limits.MAX_BATCH, 3]


def test_reading_is_in_the_originals_pixels_turned_upright(recognizer):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = page(3200, 2400).transpose(Image.Transpose.ROTATE_90)
    reading = recognizer.read(encoded(turned, "JPEG", exif=exif))
    assert (reading.width, reading.height) == (3200, 2400)
    assert reading.text.startswith("1600x1200\n")
    assert [line.text for line in reading.lines] == reading.text.split("\n")
    assert 0 < reading.seconds < 10
    line = reading.lines[0]
    assert line.path == [(0.0, 1200.0), (1600.0, 1200.0), (3200.0, 1200.0)]
    assert line.height == 600
    assert line.box == (0.0, 900.0, 3200.0, 1500.0)
    assert line.confidence == 0.5


def test_private_urls_are_for_those_who_allow_them(recognizer, stand_in_path, serve):
    server = serve(encoded(page()))
    assert size_read(recognizer.predict(server.url)) == "300x200"
    with pytest.raises(AddressError, match="private"):
        ParagraphTextRecognizer(stand_in_path).predict(server.url)
    assert len(server.requests) == 1


class AnotherModel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class LaterFormat(StandInReader):
    def __init__(self) -> None:
        super().__init__()
        self.format = "text-recognizer/2"


@pytest.mark.parametrize("model", [AnotherModel(), LaterFormat()])
def test_file_of_another_model(model, tmp_path):
    path = save_script(model, tmp_path / "other.pt")
    with pytest.raises(ModelFileError, match=r"another model.*lab compile"):
        ParagraphTextRecognizer(path)


def test_missing_and_corrupt_model_files(tmp_path, stand_in_path):
    whole = Path(stand_in_path).read_bytes()
    middle = len(whole) // 2
    contents = {
        "empty": b"",
        "cut": whole[:middle],
        "changed": whole[:middle] + bytes(2000) + whole[middle + 2000 :],
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelFileError, match=r"is not a model file or is damaged.*lab compile"):
            ParagraphTextRecognizer(tmp_path / name)
    for path in (tmp_path / "missing.pt", tmp_path):
        with pytest.raises(ModelFileError, match=r"There is no model file.*lab compile"):
            ParagraphTextRecognizer(path)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_no_pickle_is_ever_executed(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"model": Trap(sprung)}, tmp_path / "checkpoint.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(sprung), protocol=2))
        archive.writestr("archive/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("archive/version", "3\n")
    for name in ("checkpoint.pt", "plain.pkl", "archive.pt"):
        with pytest.raises(ModelFileError):
            ParagraphTextRecognizer(tmp_path / name)
    assert not sprung.exists()


@pytest.mark.parametrize("device", ["cuda:99", "xla"])
def test_device_that_is_not_there(device, stand_in_path):
    with pytest.raises(DeviceError, match='use "cpu"'):
        ParagraphTextRecognizer(stand_in_path, device=device)


def line(text, sure, height=50.0):
    return Line(text, sure, [(0.0, 0.0)], height, (0.0, 0.0, 9.0, 9.0))


@pytest.mark.parametrize(
    ("found", "text", "note"),
    [
        ([line("We met at noon.", 0.75)], "We met at noon.", ""),
        ([line("We met at noon.", 0.65)], "We met at noon.", "doubtful"),
        ([line("noon ta tem eW", 0.3)], "", "No writing"),
        ([line("svil of baraiw tront of ulstonedileb", 0.86)], None, "doubtful"),
        ([line("0171 5550199 / A-17", 0.95)], "0171 5550199 / A-17", ""),
        ([line("7", 0.97)], "7", ""),
        ([line("n", 0.6)], "", "No writing"),
        ([line("----------", 0.95), line("---------", 0.95)], "", "No writing"),
        ([line("The mere very very", 0.4, height=14.0)], "", "too small"),
    ],
)
def test_what_is_no_writing_is_left_out_or_said_to_be_doubtful(
    packaged, monkeypatch, found, text, note
):
    """Whatever the network finds: pictures without writing are in benchmarks/no_writing.py."""
    monkeypatch.setattr(packaged, "_read_lines", lambda images: [found for _ in images])
    reading = packaged.read(page())
    assert reading.text == ("\n".join(one.text for one in found) if text is None else text)
    assert note in reading.note and bool(note) == bool(reading.note)


def test_a_picture_too_dark_to_be_read_well_is_named(stand_in_path):
    # The stand-in has little confidence in what it reads.
    reading = ParagraphTextRecognizer(stand_in_path).read(page().point(lambda gray: gray // 9))
    assert reading.lines and "too dark" in reading.note


def run_module(*arguments, **options):
    command = [sys.executable, "-m", "text_recognizer.paragraph_text_recognizer", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=PROJECT, timeout=60, **options
    )


def test_command_prints_texts(tmp_path, stand_in_path):
    page().save(tmp_path / "one.png")
    page(90, 80).save(tmp_path / "two.gif", save_all=True, append_images=[page(90, 80, paper=90)])
    done = run_module(str(tmp_path / "one.png"), "--model", stand_in_path)
    # The stand-in has little confidence in what it reads.
    assert done.returncode == 0 and done.stderr.startswith("note: The text is doubtful")
    assert done.stdout.startswith("300x200\ngray ")
    both = [str(tmp_path / "one.png"), str(tmp_path / "two.gif")]
    done = run_module(*both, "--json", env={**os.environ, "LAB_MODEL": stand_in_path})
    readings = [json.loads(row) for row in done.stdout.splitlines()]
    assert [reading["text"][:5] for reading in readings] == ["300x2", "90x80"]
    assert readings[0]["lines"][0]["box"] == [0, 75, 300, 125]
    assert "only the first is read" in done.stderr and done.stderr.count("doubtful") == 2


def test_command_without_good_arguments(tmp_path, stand_in_path, capsys):
    page().save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("text")
    good, bad = str(tmp_path / "good.png"), str(tmp_path / "bad.png")
    assert main([bad, good, "--model", stand_in_path]) == 2
    out, err = capsys.readouterr()
    assert "300x200" in out
    assert err.startswith("error: ") and err.count("error: ") == 1
    assert main([good, "--model", bad]) == 2
    assert main([good, "--model", stand_in_path, "--device", "gpu"]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == err.count("\n") == 2


READ_ALONE = """
import builtins, json, sys
real = builtins.__import__
unwanted = {"pytorch_lightning", "lightning", "lightning_fabric", "wandb", "torchmetrics",
            "matplotlib", "gradio", "lab_utils", "onnxruntime", "safetensors", "typer"}
def guarded(name, *rest):
    if name.partition(".")[0] in unwanted:
        raise ImportError(name)
    return real(name, *rest)
builtins.__import__ = guarded
for name in unwanted:
    sys.modules[name] = None
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
text = ParagraphTextRecognizer(sys.argv[1]).predict(sys.argv[2])
for name in unwanted:
    del sys.modules[name]
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & unwanted, loaded & unwanted
own = {name for name in sys.modules if name.startswith("text_recognizer.")}
names = ["language_model" + part for part in ("", ".beam_search", ".character_model", ".decoding")]
names += ["decoding", "documents", "errors", "fetching", "files", "images", "limits",
         "model_file", "models", "models.normalization", "paragraph_text_recognizer", "places",
         "threads", "views"]
views = ("blocks", "crossed", "direction", "geometry", "ink", "paper", "seen")
names += ["views." + name for name in views]
assert own == {"text_recognizer." + name for name in names}, own
print(json.dumps(text))
"""


def test_the_packaged_model_reads_with_torch_and_pillow_alone(model_path):
    labels = json.loads((PROJECT / "data/pages/labels.json").read_text())
    item = next(item for item in labels["items"] if item.get("split") == "show")
    done = subprocess.run(
        [sys.executable, "-c", READ_ALONE, str(model_path), f"data/pages/{item['file']}"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=120,
    )
    assert done.stderr == ""
    words = set(item["text"].split())
    assert len(words & set(json.loads(done.stdout).split())) > len(words) / 2
