"""Made pages: the same seed makes the same page, and what is said of it is true of its picture."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from text_recognizer.npm import NpmError
from text_recognizer.pages import pen
from text_recognizer.pages.fonts import FontsMissingError, FontSource, fetch_fonts
from text_recognizer.pages.generator import (
    KINDS,
    MAX_LINES,
    PageGenerator,
    ink_source,
    page_generator,
)
from text_recognizer.pages.handwriting import HandwritingMissingError
from text_recognizer.pages.ink import crop_to_ink
from text_recognizer.pages.prose import Prose
from text_recognizer.pages.sheet import save_contact_sheet, save_pages
from text_recognizer.pages.unipen import Item, Writer
from text_recognizer.vocabulary import encode

SEEDS = range(6)


@pytest.fixture(scope="module")
def sources():
    """Ink sources of the validation split by kind, made when asked for."""
    made = {}

    def source(kind: str):
        if kind not in made:
            made[kind] = ink_source(kind, "validation")
        return made[kind]

    return source


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    """Each kind of page; skipped where its fonts or its handwriting can't be had."""
    request.getfixturevalue("fonts" if request.param == "font" else "handwriting")
    return request.param


def same_page(one, other) -> bool:
    return np.array_equal(one.image, other.image) and one.text == other.text


# Whole pages


def test_the_seed_makes_the_page(kind, sources):
    generator, again = (PageGenerator([sources(kind)]) for _ in range(2))
    pages = [generator.make(seed) for seed in ([3, 4], 0)]
    same = again.make([3, 4])
    assert same_page(pages[0], same)
    for line, other in zip(pages[0].lines, same.lines, strict=True):
        assert np.array_equal(line.path, other.path) and line.above == other.above
    assert not same_page(pages[1], pages[0])


def test_what_is_said_of_a_page_is_possible(kind, sources):
    generator = PageGenerator([sources(kind)])
    for seed in SEEDS:
        page = generator.make(seed)
        height, width = page.image.shape
        assert page.image.dtype == np.uint8
        assert page.kind == kind and page.writer
        assert 24 <= height <= 4000 and 32 <= width <= 4000
        assert page.image.max() > page.image.min(), "nothing is on the page"
        assert 1 <= len(page.lines) <= MAX_LINES
        assert len(generator.make(seed, max_lines=2).lines) <= 2
        assert page.text.split("\n") == [line.text for line in page.lines]
        for line in page.lines:
            assert line.text == " ".join(line.text.split()) != ""
            encode(line.text)  # raises where a character is not in the vocabulary
            assert 0 <= line.start < line.end <= width
            assert line.above > 0 and line.below > 0
            x, y = line.path[:, 0], line.path[:, 1]
            assert x[0] == 0 and abs(x[-1] - width) <= 1 and (np.diff(x) > 0).all()
            assert y.min() >= 0 and y.max() <= height
        paths = np.stack([line.path[:, 1] for line in page.lines])
        assert (np.diff(paths, axis=0) > 0).all(), "lines cross, or are not from top to bottom"


# Variety


def test_prose_has_all_characters_and_breaks_lines_between_words():
    prose, rng = Prose(), np.random.default_rng(1)
    said = set()
    for _ in range(600):
        lines = prose.lines(rng, 10)
        assert len(lines) == 10 and max(map(len, lines)) < 90
        assert all(line and line == line.strip() for line in lines)
        said.update(*lines)
    assert said == {chr(code) for code in range(32, 127)}


# Files


def test_saved_pages_come_with_their_labels(fonts, tmp_path):
    labels = save_pages(tmp_path, "font", 3, seed=5, split="validation", label_split="show")
    save_pages(tmp_path, "font", 2, seed=6, label_split="train")
    content = json.loads(labels.read_text())
    assert len(content["items"]) == 5 and content["licence"]
    assert {item["split"] for item in content["items"]} == {"show", "train"}
    generator = page_generator({"font": 1.0}, "validation")
    for index in range(3):
        item = next(i for i in content["items"] if i["file"] == f"show_font_{index:03d}.jpg")
        page = generator.make([5, index])
        assert (item["text"], item["writer"], item["kind"]) == (page.text, page.writer, "paragraph")
        with Image.open(tmp_path / item["file"]) as image:
            assert (image.mode, image.size) == ("L", page.image.shape[::-1])
            off = np.asarray(image).astype(float) - page.image
        assert np.abs(off).mean() < 8, "as close as a JPEG file is"


def test_the_contact_sheet_shows_all_pages(fonts, tmp_path):
    path = save_contact_sheet(tmp_path / "new" / "sheet.png", "font", 5)
    with Image.open(path) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (880, 1760)
    cells = [pixels[r : r + 440, c : c + 440] for r in (0, 440) for c in range(0, 1760, 440)]
    assert [bool(cell.std() > 5) for cell in cells] == [True] * 5 + [False] * 3


# What is missing


@pytest.mark.parametrize(
    ("npm", "message"), [(None, "npm is not installed"), ("npm", "check the network")]
)
def test_missing_fonts_and_npm_are_reported(tmp_path, monkeypatch, npm, message):
    with pytest.raises(FontsMissingError, match="lab fonts"):
        FontSource(["kalam"], Prose(), tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", "npm error network")
    monkeypatch.setattr(shutil, "which", lambda _: npm)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(NpmError, match=message):
        fetch_fonts(tmp_path / "new", ["kalam"])
    assert not list(tmp_path.glob("new/*"))


def test_what_is_missing_or_unknown_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_HANDWRITING", str(tmp_path / "none"))
    with pytest.raises(HandwritingMissingError, match="LAB_HANDWRITING"):
        ink_source("pen")
    with pytest.raises(ValueError, match="take one of font, pen, scan"):
        ink_source("typed")
    with pytest.raises(ValueError, match="no ink"):
        crop_to_ink(np.zeros((10, 10), dtype=np.uint8))


def test_a_writer_of_only_long_lines_writes_them_smaller(monkeypatch, tmp_path):
    """No line of theirs fits on a page in the size that is asked for."""
    zigzag = np.stack([np.arange(0, 12_000, 10), np.tile([0, -20], 600)], axis=1).astype(np.int16)
    long = Item("word " * 60 + "end", (zigzag,), baseline=0.0, x_height=20.0, width=12_000.0)
    writer = Writer("long", [], [long], {}, x_height=20.0, pitch=40.0)
    monkeypatch.setattr(pen, "read_writers", lambda source, split: [writer])
    source = pen.PenSource(tmp_path, "train")
    _, lines = source.write(np.random.default_rng(1), num_lines=2, height=40.0)
    assert [line.width < pen.LONGEST_LINE * 40 for line in lines] == [True, True]
