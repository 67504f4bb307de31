"""The split: nobody whose writing is trained on is met again in validation."""

import json

import pytest

from text_recognizer.pages.fonts import TRAINING_FONTS, UNSEEN_FONTS
from text_recognizer.pages.generator import ink_source
from text_recognizer.places import project_folder


@pytest.fixture(scope="module")
def kept_out() -> dict[str, list[str]]:
    return json.loads((project_folder() / "data" / "splits.json").read_text())


def test_the_file_names_each_once(kept_out):
    for key, count in (("unipen_validation", 40), ("copiste_validation", 30)):
        assert len(kept_out[key]) == count
        assert len(set(kept_out[key])) == count


def test_fonts_of_the_splits_differ():
    every = TRAINING_FONTS + UNSEEN_FONTS
    assert len(every) == len(set(every))
    assert len(UNSEEN_FONTS) >= 5


def test_font_pages_of_the_splits_are_in_different_fonts(fonts):
    names = {
        split: {p.name for p in ink_source("font", split).paths}
        for split in ("train", "validation")
    }
    assert names["train"] and names["validation"]
    assert not names["train"] & names["validation"]


@pytest.mark.slow
def test_pen_writers_of_the_splits_differ(kept_out, handwriting):
    validation = set(kept_out["unipen_validation"])
    trained_on = {writer.name for writer in ink_source("pen", "train").writers}
    kept = {writer.name for writer in ink_source("pen", "validation").writers}
    assert len(trained_on) > 200
    assert not trained_on & validation
    assert kept <= validation
    assert len(kept) >= 36, "validation writers with enough words for a page"


def test_scanned_pages_of_the_splits_differ(kept_out, handwriting):
    validation = set(kept_out["copiste_validation"])
    trained_on, kept = (set(ink_source("scan", split).names) for split in ("train", "validation"))
    assert len(trained_on) > 100
    assert not trained_on & validation
    assert kept == validation
