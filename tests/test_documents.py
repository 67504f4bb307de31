"""PDF, TIFF, HEIC and AVIF: pages one after another, and what is refused before it is rendered."""

import sys

import pytest
from hostile_images import encoded
from PIL import Image, ImageDraw

from text_recognizer import limits
from text_recognizer.errors import FirstPageWarning, ImageError, ImageTooLargeError
from text_recognizer.images import decode_here, load_image, load_pages


def pages(count, size=(300, 200)):
    drawn = [Image.new("L", size, 220) for _ in range(count)]
    for number, page in enumerate(drawn):
        ImageDraw.Draw(page).rectangle((10, 10, 20 + 5 * number, 40), fill=20)
    return drawn


def document(images, format):
    return encoded(images[0], format, save_all=True, append_images=images[1:])


@pytest.mark.parametrize("format", ["PDF", "TIFF"])
def test_pages_come_one_after_another(format, tmp_path):
    pytest.importorskip("pypdfium2")
    data = document(pages(3), format)
    path = tmp_path / "letter"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        loaded = list(load_pages(source))
        assert len(loaded) == 3
        assert all(one.width / one.height == pytest.approx(1.5, rel=0.02) for one in loaded)
        dark = [sum(one.page.histogram()[:100]) / one.page.width**2 for one in loaded]
        assert dark[0] < dark[1] < dark[2]
    with pytest.warns(FirstPageWarning, match="several pages; only the first"):
        load_image(data)


def test_a_strangers_document_is_decoded_in_a_process_with_limits(monkeypatch):
    pytest.importorskip("pypdfium2")
    monkeypatch.setitem(sys.modules, "pypdfium2", None)  # in this process, that is
    assert len(list(load_pages(document(pages(2), "PDF")))) == 2
    whole = document(pages(2), "TIFF")
    with pytest.raises(ImageError, match="page|damaged|document"):
        list(load_pages(whole[: len(whole) // 2]))


@pytest.mark.parametrize("format", ["PDF", "TIFF"])
def test_too_many_pages_are_refused(format, monkeypatch, tmp_path):
    pytest.importorskip("pypdfium2")
    monkeypatch.setattr("text_recognizer.documents.MAX_DOCUMENT_PAGES", 2)
    path = tmp_path / "letter"
    path.write_bytes(document(pages(3), format))
    with pytest.raises(ImageTooLargeError, match="has 3 pages, and at most 2"):
        next(load_pages(path))
    assert limits.MAX_DOCUMENT_PAGES <= 100


def test_a_bomb_in_a_pdf_is_refused_before_it_is_rendered(monkeypatch):
    pytest.importorskip("pypdfium2")
    monkeypatch.setattr("text_recognizer.documents.MAX_IMAGE_PIXELS", 300 * 200 - 1)
    with pytest.raises(ImageTooLargeError, match="a picture of 300 x 200"):
        decode_here(document(pages(1), "PDF"), "The image")


@pytest.mark.parametrize("data", [b"%PDF-1.7 nothing more", b"%PDF-1.4\n" + b"\0" * 500])
def test_a_damaged_pdf(data):
    pytest.importorskip("pypdfium2")
    with pytest.raises(ImageError, match="damaged or protected"):
        load_image(data)


def test_what_needs_an_extra_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"needs pypdfium2: run .*\.\[pdf\]"):
        decode_here(document(pages(1), "PDF"), "The image")
    with pytest.raises(ImageError, match=r"needs pillow-heif: run .*\.\[heic\]"):
        decode_here(b"\0\0\0\x18ftypheic" + b"\0" * 64, "The image")


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_what_phones_take(format):
    if format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    loaded = load_image(document(pages(1), format))
    assert (loaded.width, loaded.height) == (300, 200)
    with pytest.raises(ImageError):
        load_image(document(pages(1), format)[:200])
