"""Lines that are read side by side: the same reading with any number of threads, which are
PyTorch's again afterwards."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES

PAGE = SAMPLE_PAGES / "show_font_001.jpg"


@pytest.fixture
def set_threads():
    """Sets PyTorch's threads until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("language_model", ["english", "none"])
def test_what_is_read_does_not_depend_on_the_threads(model_path, language_model, set_threads):
    recognizer = ParagraphTextRecognizer(model_path, language_model=language_model)
    read = {}
    for threads in (1, 2, 40):  # more than the page has lines
        set_threads(threads)
        reading = recognizer.read(PAGE)
        read[threads] = reading.lines
        assert torch.get_num_threads() == threads
    assert len(read[1]) > 2
    assert read[1] == read[2] == read[40]


def test_readers_that_overlap_leave_all_threads_as_they_were(model_path, set_threads):
    recognizer = ParagraphTextRecognizer(model_path)
    set_threads(3)
    with ThreadPoolExecutor(4) as visitors:
        texts = set(visitors.map(recognizer.predict, [PAGE] * 8))
    assert len(texts) == 1
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3


def test_what_was_set_for_the_caller_holds_for_all_lines(model_path, set_threads):
    recognizer = ParagraphTextRecognizer(model_path, language_model="none")
    read = {}
    for threads in (1, 2):
        set_threads(threads)
        with torch.autocast("cpu", torch.bfloat16):
            read[threads] = recognizer.read(PAGE).lines
    assert read[1] == read[2]
    assert read[1] != recognizer.read(PAGE).lines
