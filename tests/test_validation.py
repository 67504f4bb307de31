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


def test_font_pages_of_the_splits_are_in_different_fonts(fonts):
    trained_on, kept = (
        {path.name for path in ink_source("font", split).paths} for split in ("train", "validation")
    )
    assert trained_on and kept and not trained_on & kept


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


@pytest.mark.nightly
def test_every_writer_and_scan_has_its_pages(handwriting):
    pages = list(validation.make_pages(validation.REAL_GROUPS))
    assert len(pages) == 80 + 30
    for plan, page in pages:
        assert page.writer == plan.name
        low, high = validation.LINES[plan.group]
        assert len(page.lines) <= high
        assert len(page.lines) >= low or plan.group == "copiste"  # a scan may have fewer
        assert page.text.isascii() and all(line.text.strip() for line in page.lines)
    # Two pages of a writer are different ones.
    texts = {plan: page.text for plan, page in pages}
    assert len(set(texts.values())) == len(texts)


def test_the_font_pages_are_the_same_everywhere(fonts):
    texts = [page.text for _, page in validation.make_pages(["font"])]
    told = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert told == "fd2ed870bda06511b3aac99269668b6d91ecb6fb10fbcb54ea8173c0968fb54b"


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
        ("hpp", "( 4 5 6 ) 7 8 9 - 0 1 2 3", "(456) 789-0123"),
        ("hpp", "smith @ mars . aud . com", "smith@mars.aud.com"),
        ("hpb", "the word ' bubblet ' by Tue 2 4 th", "the word 'bubblet' by Tue 24th"),
        ("dar", "It wasn ' t the comet 's tail", "It wasn't the comet's tail"),
        ("lex", "2 3 of them , or 1 2 3 4", "2 3 of them, or 1234"),
        ("apa", "|a+b| <= |a| + |b| @ 4:56 PM", "|a+b| <= |a| + |b| @ 4:56 PM"),
    ],
)
def test_labels_lose_the_spaces_that_their_transcribers_put_in(source, label, text):
    assert as_written(label, source) == text
