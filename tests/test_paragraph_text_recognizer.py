"""The class that services use: what reaches the network, what comes back, and every bad input.

Most tests run a stand-in for the network (conftest.StandInReader), which writes down the size and
the mean gray of the page it was shown. `test_reading.py` runs the packaged model, and
`test_staging.py` a model in a process with torch and Pillow only.
"""

import json
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import StandInReader, save_script
from hostile_images import encoded
from PIL import Image, ImageDraw
from torch import nn

from text_recognizer import limits
from text_recognizer.errors import DeviceError, ImageError, ModelFileError
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer, main


def page(width=300, height=200, paper=220):
    image = Image.new("L", (width, height), paper)
    # Long enough that it is no small part of the page, which would be shown larger.
    ImageDraw.Draw(image).line((width // 4, height // 2, width // 8 * 7, height // 2), 20, 3)
    return image


def size_read(text):
    return text.partition("\n")[0]


def test_batch_keeps_order_sizes_and_contents(stand_in):
    sizes = [(300, 200), (40, 500), (900, 30), (301, 200), (64, 64)] * 4
    images = [page(w, h, paper=100 + 5 * i) for i, (w, h) in enumerate(sizes)]
    assert len(images) > limits.MAX_BATCH
    texts = stand_in.predict_batch(images)
    assert [size_read(text) for text in texts] == [f"{w}x{h}" for w, h in sizes]
    assert 90 < int(texts[0].split()[-1]) < 100, "the gray of the page"
    some = images[:3]
    assert texts[:3] == [stand_in.predict(image) for image in some]
    assert texts[:3] == [reading.text for reading in stand_in.read_batch(some)]
    assert stand_in.predict_batch([]) == stand_in.read_batch([]) == []


def test_blank_page_is_the_empty_string_and_a_bad_image_in_a_batch_is_named(stand_in):
    blank = Image.new("L", (200, 100), 255)
    reading = stand_in.read(blank)
    assert (reading.text, reading.lines) == ("", [])
    texts = stand_in.predict_batch([blank, page(), blank])
    assert [size_read(text) for text in texts] == ["", "300x200", ""]
    with pytest.raises(ImageError, match="Image 10 of 11: The image is empty"):
        stand_in.predict_batch([page()] * 9 + [b"", page()])


def test_long_batches_are_split(stand_in_path):
    recognizer = ParagraphTextRecognizer(stand_in_path)
    seen = []
    read = recognizer.model.read_lines
    recognizer.model = SimpleNamespace(
        read_lines=lambda pages, sizes: seen.append(len(pages)) or read(pages, sizes)
    )
    recognizer.predict_batch([page(80, 60)] * (2 * limits.MAX_BATCH + 3))
    # What is doubtful, as all is here, is looked at once more, by itself.
    assert [count for count in seen if count > 1] == [limits.MAX_BATCH, limits.MAX_BATCH, 3]


def test_reading_is_in_the_originals_pixels_turned_upright(stand_in):
    turned = page(3200, 2400).transpose(Image.Transpose.ROTATE_90)
    reading = stand_in.read(encoded(turned, "JPEG", turn=6))
    assert (reading.width, reading.height) == (3200, 2400)
    assert reading.text.startswith("1600x1200\n")
    assert [line.text for line in reading.lines] == reading.text.split("\n")
    assert 0 < reading.seconds < 10
    line = reading.lines[0]
    assert line.path == [(0.0, 1200.0), (1600.0, 1200.0), (3200.0, 1200.0)]
    assert line.height == 600
    assert line.box == (0.0, 900.0, 3200.0, 1500.0)
    assert line.confidence == 0.5


class AnotherModel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_file_of_another_model(tmp_path):
    later = StandInReader()
    later.format = "text-recognizer/2"
    for model in (AnotherModel(), later):
        path = save_script(model, tmp_path / "other.pt")
        with pytest.raises(ModelFileError, match=r"another model.*lab compile"):
            ParagraphTextRecognizer(path)


def test_missing_and_corrupt_model_files(tmp_path, stand_in_path):
    whole = Path(stand_in_path).read_bytes()
    middle = len(whole) // 2
    damaged = tmp_path / "damaged.pt"
    for data in (b"", whole[:middle], whole[:middle] + bytes(2000) + whole[middle + 2000 :]):
        damaged.write_bytes(data)
        with pytest.raises(ModelFileError, match=r"is not a model file or is damaged.*lab compile"):
            ParagraphTextRecognizer(damaged)
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


def test_command_prints_texts(tmp_path, stand_in_path, monkeypatch, capsys):
    one, two = str(tmp_path / "one.png"), str(tmp_path / "two.gif")
    page().save(one)
    page(90, 80).save(two, save_all=True, append_images=[page(90, 80, paper=90)])
    assert main([one, "--model", stand_in_path]) == 0
    out, err = capsys.readouterr()
    # The stand-in has little confidence in what it reads.
    assert out.startswith("300x200\ngray ") and err.startswith("note: The text is doubtful")
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    assert main([one, two, "--json"]) == 0
    out, err = capsys.readouterr()
    readings = [json.loads(row) for row in out.splitlines()]
    assert [reading["text"][:5] for reading in readings] == ["300x2", "90x80"]
    assert readings[0]["lines"][0]["box"] == [0, 75, 300, 125]
    assert "only the first is read" in err and err.count("doubtful") == 2


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
