"""Pages read with a language model: the option of the recognizer and what the script gives it."""

import pytest
import torch

from text_recognizer.errors import ModelFileError
from text_recognizer.metrics import character_edits
from text_recognizer.models.paragraph_reader import SECOND_MARGIN, SURE
from text_recognizer.models.strips import MARGIN
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.vocabulary import BLANK, decode

PAGES = [SAMPLE_PAGES / "show_font_004.jpg", SAMPLE_PAGES / "show_font_010.jpg"]


@pytest.fixture(scope="module")
def plain(model_path):
    return ParagraphTextRecognizer(model_path, language_model="none")


def likeliest(log_probs: torch.Tensor) -> str:
    ids = log_probs.argmax(1).tolist()
    before = [BLANK, *ids[:-1]]
    return decode([one for one, last in zip(ids, before, strict=True) if one not in (BLANK, last)])


@pytest.fixture(scope="module")
def tensors(plain):
    return plain.to_tensors([loaded for pages, _ in plain._batches(PAGES) for loaded in pages])


def test_the_frames_are_those_of_the_lines(plain, tensors):
    with torch.inference_mode():
        tokens, *rest = plain.model.read_lines(*tensors)
        log_probs, lengths, _, _, *same = plain.model.read_twice(*tensors)
    for one, other in zip(rest, same, strict=True):
        assert torch.equal(one, other)
    assert [likeliest(row) for row in log_probs] == [decode(row) for row in tokens.tolist()]
    assert torch.allclose(log_probs.exp().sum(2), torch.ones(log_probs.shape[:2]), atol=1e-4)
    for row, length in zip(log_probs, lengths.tolist(), strict=True):
        assert (row[length:, BLANK] == 0).all(), "padding is surely blank"


def test_doubtful_lines_are_read_once_more_and_smaller(plain, tensors):
    with torch.inference_mode():
        log_probs, lengths, again, again_lengths, _, confidence, *_ = plain.model.read_twice(
            *tensors
        )
    doubtful = again_lengths > 0
    assert 0 < int(doubtful.sum()) < len(doubtful), "pages with lines of both kinds"
    assert (confidence[doubtful] < SURE).all()
    rows = zip(log_probs, lengths, again, again_lengths, strict=True)
    for first, length, second, other_length in rows:
        if other_length:
            assert other_length == pytest.approx(length * MARGIN / SECOND_MARGIN, abs=1)
            one, other = likeliest(first[:length]), likeliest(second[:other_length])
            assert character_edits(other, one).rate < 0.5, "the same line"


def test_english_is_the_default_which_the_environment_changes(
    model_path, stand_in_path, plain, monkeypatch
):
    page = PAGES[1]  # on which English changes something
    monkeypatch.delenv("LAB_LANGUAGE_MODEL", raising=False)
    without = plain.predict(page)
    assert ParagraphTextRecognizer(model_path).predict(page) != without
    monkeypatch.setenv("LAB_LANGUAGE_MODEL", "none")
    assert ParagraphTextRecognizer(model_path).predict(page) == without
    with pytest.raises(ModelFileError, match="at gone.ngrams; give english, none, or"):
        ParagraphTextRecognizer(model_path, language_model="gone.ngrams")
    with pytest.raises(ModelFileError, match=r"new one with `lab compile`\.$"):
        ParagraphTextRecognizer(stand_in_path, language_model="english")
