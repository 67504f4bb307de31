"""The fixed validation pages: the same everywhere, and nothing of them in training."""

import hashlib
import json

import pytest

from text_recognizer.evaluate import validation
from text_recognizer.pages.fonts import TRAINING_FONTS, UNSEEN_FONTS
from text_recognizer.pages.generator import ink_source
from text_recognizer.pages.unipen import as_written
from text_recognizer.places import project_folder


@pytest.fixture(scope="module")
def written() -> dict:
    return json.loads((project_folder() / "data" / "validation_pages.json").read_text())


@pytest.fixture(scope="module")
def splits() -> dict:
    return json.loads((project_folder() / "data" / "splits.json").read_text())


def test_the_file_names_what_is_kept_for_validation_and_nothing_else(written, splits):
    assert set(written["unipen"]) == set(splits["unipen_validation"])
    assert set(written["copiste"]) == set(splits["copiste_validation"])
    assert set(written["font"]) == set(UNSEEN_FONTS)
    assert len(written["unipen"]) == 40 and len(written["copiste"]) == 30
    assert not set(written["font"]) & set(TRAINING_FONTS)
    assert len({plan.file for plan in validation.plans()}) == 134


@pytest.mark.nightly
def test_no_writer_of_the_validation_is_in_training(splits, handwriting):
    trained_on, kept = (
        {writer.name for writer in ink_source("pen", split).writers}
        for split in ("train", "validation")
    )
    assert len(trained_on) > 200 and len(kept) >= 36, "writers with enough words for a page"
    assert kept <= set(splits["unipen_validation"]) and not trained_on & kept


def test_no_scan_of_the_validation_is_in_training(splits, handwriting):
    trained_on, kept = (ink_source("scan", split).pages for split in ("train", "validation"))
    assert len(trained_on) > 100
    assert set(kept) == set(splits["copiste_validation"]) and not set(trained_on) & set(kept)
    files = [{file for lines in one.values() for file, _ in lines} for one in (trained_on, kept)]
    assert not files[0] & files[1]


def test_the_font_pages_are_the_same_everywhere(fonts):
    texts = [page.text for _, page in validation.make_pages(["font"])]
    found = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert found == "fd2ed870bda06511b3aac99269668b6d91ecb6fb10fbcb54ea8173c0968fb54b"


def test_pages_are_written_as_items_to_evaluate(monkeypatch, fonts, tmp_path):
    few = validation.plans(["font"])[:2]
    monkeypatch.setattr(validation, "plans", lambda groups=(): few)
    items = validation.write_pages(tmp_path / "pages", ["font"], progress=False)
    assert [item.file for item in items] == [plan.file for plan in few]
    assert {item.group for item in items} == {"font"}
    assert all(item.path.is_file() and item.text for item in items)
    again = validation.write_pages(tmp_path / "again", ["font"], progress=False)
    assert validation.digest(items) == validation.digest(again)
    assert validation.digest(items) != validation.digest(items[:1])


@pytest.mark.parametrize(
    ("source", "label", "text"),
    [
        ("hpb", "Prudence , Mike 2 8 7 4 7", "Prudence, Mike 28747"),
        ("hpp", "Bill at 2 : 0 0 on 3 / 2 3 / 9 2 .", "Bill at 2:00 on 3/23/92."),
        ("dar", "It wasn ' t the comet 's tail", "It wasn't the comet's tail"),
        ("apa", "|a+b| <= |a| + |b| @ 4:56 PM", "|a+b| <= |a| + |b| @ 4:56 PM"),
    ],
)
def test_labels_lose_the_spaces_that_their_transcribers_put_in(source, label, text):
    assert as_written(label, source) == text
