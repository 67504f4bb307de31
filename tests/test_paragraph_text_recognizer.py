"""The class that services use: what reaches the network, what comes back, and every bad input.

Most tests run a stand-in for the network (conftest.StandInReader), which writes down the size and
the mean gray of the page it was shown; the last ones run the packaged model.
"""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
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
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer, main

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
def guarded(stand_in_path):
    return ParagraphTextRecognizer(stand_in_path)


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


def test_blank_page_is_the_empty_string(recognizer):
    blank = Image.new("L", (200, 100), 255)
    assert recognizer.predict(blank) == ""
    reading = recognizer.read(blank)
    assert (reading.text, reading.lines) == ("", [])
    texts = recognizer.predict_batch([blank, page(), blank])
    assert [size_read(text) for text in texts] == ["", "300x200", ""]


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


def test_reading_is_in_the_originals_pixels(recognizer):
    reading = recognizer.read(page(3200, 2400))
    assert (reading.width, reading.height) == (3200, 2400)
    assert reading.text.startswith("1600x1200\n")
    assert [line.text for line in reading.lines] == reading.text.split("\n")
    assert 0 < reading.seconds < 10
    line = reading.lines[0]
    assert line.path == [(0.0, 1200.0), (1600.0, 1200.0), (3200.0, 1200.0)]
    assert line.height == 600
    assert line.box == (0.0, 900.0, 3200.0, 1500.0)
    assert line.confidence == 0.5


def test_reading_of_a_turned_photo_is_in_upright_pixels(recognizer):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(page(1600, 3200).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    reading = recognizer.read(data)
    assert (reading.width, reading.height) == (1600, 3200)
    assert reading.text.startswith("800x1600\n")
    assert reading.lines[0].path[-1] == (1600.0, 1600.0)


def test_bad_image_in_a_batch_is_named(recognizer):
    with pytest.raises(ImageError, match="Image 10 of 11: The image is empty"):
        recognizer.predict_batch([page()] * 9 + [b"", page()])


def test_private_urls_are_for_those_who_allow_them(recognizer, guarded, serve):
    server = serve(encoded(page()))
    assert size_read(recognizer.predict(server.url)) == "300x200"
    server.requests.clear()
    for url in (server.url, f"http://localhost:{server.port}/", "http://169.254.169.254/"):
        with pytest.raises(AddressError, match="private"):
            guarded.predict(url)
    assert server.requests == []
    with pytest.raises(AddressError, match="Only http"):
        guarded.predict("ftp://example.com/page.png")


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
        "text": b"no model",
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


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "xla"])
def test_device_that_is_not_there(device, stand_in_path):
    with pytest.raises(DeviceError, match='use "cpu"'):
        ParagraphTextRecognizer(stand_in_path, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_texts(model_path):
    images = [page(), page(500, 300)]
    on_gpu = ParagraphTextRecognizer(model_path, device="cuda")
    assert on_gpu.predict_batch(images) == ParagraphTextRecognizer(model_path).predict_batch(images)


def test_default_model_path(monkeypatch, stand_in_path):
    monkeypatch.setenv("LAB_MODEL", str(stand_in_path))
    assert ParagraphTextRecognizer().predict(page()).startswith("300x200")
    monkeypatch.setenv("LAB_MODEL", "/nowhere/model.pt")
    with pytest.raises(ModelFileError, match=r"nowhere/model\.pt"):
        ParagraphTextRecognizer()


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
    assert main([good, "--model", "missing.pt"]) == 2
    assert main([good, "--model", bad]) == 2
    assert main([good, "--model", stand_in_path, "--device", "gpu"]) == 2
    assert main(["http://127.0.0.1:9/a.png", "--model", stand_in_path]) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == err.count("\n") == 4
    for arguments, code in (([], 2), (["--help"], 0), ([good, "--unknown"], 2)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == code


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_interrupt_ends_with_130(stand_in_path, serve):
    server = serve(lambda *_: time.sleep(20))
    command = [sys.executable, "-m", "text_recognizer.paragraph_text_recognizer", server.url]
    command += ["--model", stand_in_path, "--allow-private-addresses"]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 30
        while not server.requests and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


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
names = ["decoding", "documents", "errors", "fetching", "files", "images", "limits",
         "model_file", "models", "models.normalization", "paragraph_text_recognizer", "places",
         "threads", "views"]
names += ["views." + name for name in ("blocks", "direction", "geometry", "ink", "paper", "seen")]
assert own == {"text_recognizer." + name for name in names + sys.argv[3:]}, own
print(json.dumps(text))
"""


LANGUAGE_MODEL = ["", ".beam_search", ".character_model", ".decoding"]


def read_alone(model, image, *modules):
    return subprocess.run(
        [sys.executable, "-c", READ_ALONE, str(model), str(image), *modules],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=120,
    )


def test_reading_needs_torch_and_pillow_alone(stand_in_path, tmp_path):
    page().save(tmp_path / "page.png")
    done = read_alone(stand_in_path, tmp_path / "page.png")
    assert done.stderr == ""
    assert done.stdout.startswith('"300x200')


def test_the_packaged_model_reads_alone(model_path, tmp_path):
    labels = json.loads((PROJECT / "data/pages/labels.json").read_text())
    item = next(item for item in labels["items"] if item.get("split") == "show")
    modules = ["language_model" + name for name in LANGUAGE_MODEL]
    done = read_alone(model_path, PROJECT / "data/pages" / item["file"], *modules)
    assert done.stderr == ""
    words = set(item["text"].split())
    assert len(words & set(json.loads(done.stdout).split())) > len(words) / 2


def test_the_packaged_model_predicts_what_it_reads(model_path):
    labels = json.loads((PROJECT / "data/pages/labels.json").read_text())
    shown = [item for item in labels["items"] if item.get("split") == "show"][:3]
    paths = [PROJECT / "data/pages" / item["file"] for item in shown]
    recognizer = ParagraphTextRecognizer(model_path)
    readings = recognizer.read_batch([*paths, Image.new("L", (400, 300), 255)])
    assert [reading.text for reading in readings] == recognizer.predict_batch(
        [*paths, Image.new("L", (400, 300), 255)]
    )
    assert readings[-1].text == "" and readings[-1].lines == []
    for reading in readings[:-1]:
        for line in reading.lines:
            x0, y0, x1, y1 = line.box
            assert 0 <= x0 <= x1 <= reading.width and 0 <= y0 <= y1 <= reading.height
            assert 0 <= line.confidence <= 1
