"""Predictors in this process, and what of an image goes to a service in another one."""

import base64
import io
import random
from pathlib import Path

import pytest
from conftest import python
from hostile_images import encoded
from PIL import Image, ImageDraw

from lab_utils.predictors.pages_to_send import MAX_TEXT_BYTES, page_to_send
from text_recognizer.errors import AddressError, ImageError
from text_recognizer.images import load_image
from text_recognizer.places import SAMPLE_PAGES


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    data = random.Random(1).randbytes(width * height * channels)
    return Image.frombytes(mode, (width, height), data)


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A page taken with a phone held sideways: the file says how to turn it."""
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).line((20, 150, 280, 40), fill="black", width=6)
    return encoded(image, "JPEG", turn=6)


def sent_bytes(source) -> bytes:
    text = page_to_send(source).fields["image"]
    return base64.b64decode(text.partition(",")[2] or text)


def test_torch_is_imported_when_it_is_needed():
    code = "import sys, lab_utils.predictors; print('torch' in sys.modules)"
    assert python(code).stdout == "False\n"


def test_images_that_fit_are_sent_as_they_are(photo, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo)
    text = base64.b64encode(photo).decode()
    for source in (path, str(path), photo, bytearray(photo), memoryview(photo), text):
        assert sent_bytes(source) == photo
    assert page_to_send(f"data:image/jpeg;base64,{text}").fields["image"].endswith(text)
    assert page_to_send(photo).scaled is None
    assert page_to_send(" https://host/page.png ").fields == {"image_url": "https://host/page.png"}


def test_a_pil_image_becomes_exactly_the_page_that_the_network_would_see(photo):
    sixteen_bits = Image.linear_gradient("L").convert("I").point(lambda v: v * 250)
    for image in (noise(1900, 500), noise(90, 60, "RGBA"), sixteen_bits):
        before = image.copy()
        direct, sent = load_image(image), load_image(sent_bytes(image))
        assert sent.page.size == direct.page.size
        assert sent.page.tobytes() == direct.page.tobytes()
        assert image.tobytes() == before.tobytes()
    upright = load_image(sent_bytes(Image.open(io.BytesIO(photo))))
    assert (upright.width, upright.height) == (200, 300)


def test_an_image_that_no_request_holds_becomes_its_page_without_loss(tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(encoded(noise(1500, 1300), "PNG", compress_level=1))
    assert path.stat().st_size * 4 / 3 > MAX_TEXT_BYTES
    text = base64.b64encode(path.read_bytes()).decode()
    direct = load_image(path)
    for source in (path, text):
        fields = page_to_send(source).fields
        assert len(fields["image"]) <= MAX_TEXT_BYTES
        assert load_image(fields["image"]).page.tobytes() == direct.page.tobytes()


def test_small_writing_in_a_large_photo_arrives_in_all_its_px():
    photo = Image.new("RGB", (4000, 3000), "white")
    photo.paste(noise(400, 300), (1700, 1200))
    direct, sent = load_image(photo), load_image(sent_bytes(photo))
    assert sent.detail.tobytes() == direct.detail.tobytes()
    assert page_to_send(direct) == page_to_send(photo)
    worst = page_to_send(noise(4000, 3000, "L"))
    assert len(worst.fields["image"]) <= MAX_TEXT_BYTES


REFUSED = {
    "folder": (Path(SAMPLE_PAGES), ImageError, "is a folder"),
    "text": (b"private notes", ImageError, "not an image in PNG"),
    "damaged base64": ("iVBORw0KGgoAAAANSUhEUgAA***", ImageError, "damaged"),
    "file address": ("file:///etc/passwd", AddressError, "Only http"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_before_anything_is_sent(name):
    source, kind, sentence = REFUSED[name]
    with pytest.raises(kind, match=sentence):
        page_to_send(source)
