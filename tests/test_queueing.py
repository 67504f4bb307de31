"""Load on paper and in earnest: the queue against what queueing theory says, the timetable against
a slow service, and the notebook's service where the emulator is missing."""

import itertools
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lab_utils.predictors import PredictorError, RemotePredictor
from lab_utils.service import local
from lab_utils.service.errors import ServiceError
from lab_utils.service.open_loop import send_open_loop
from lab_utils.service.queueing import poisson_arrivals, simulate_queue
from text_recognizer.errors import ImageError
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES


@pytest.mark.parametrize("use", [0.3, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(use):
    seconds = 0.2
    arrivals = poisson_arrivals(use / seconds, count=60_000, seed=4)
    answered = simulate_queue(arrivals, lambda _: seconds)
    waits = [end - start - seconds for start, end in zip(arrivals, answered, strict=True)]
    expected = use * seconds / (2 * (1 - use))
    assert sum(waits) / len(waits) == pytest.approx(expected, rel=0.06)


def test_batches_go_when_they_are_full_or_old_or_the_server_is_free():
    sizes = []

    def seconds_of(size: int) -> float:
        sizes.append(size)
        return 1.0

    arrivals = [0.0, 0.25, 5.0, 5.5, 10.0, 10.0, 10.5, 10.75, 10.75]
    answered = simulate_queue(arrivals, seconds_of, max_batch=2, max_wait=0.25)
    assert answered == [1.25, 1.25, 6.25, 7.25, 11.0, 11.0, 12.0, 12.0, 13.0]
    assert sizes == [2, 1, 1, 2, 2, 1]
    assert simulate_queue([0.0] * 4, lambda _: 1.0, servers=2) == [1.0, 1.0, 2.0, 2.0]


def test_the_timetable_is_kept_although_no_answer_comes():
    go_on = threading.Event()
    begun = itertools.count(1)

    def ask() -> None:
        number = next(begun)
        if number == 3:
            go_on.set()
        assert go_on.wait(10), "the later requests waited for the first"
        if number == 1:
            raise ImageError("a refusal is no answer")

    sent = send_open_loop(ask, [0.0, 0.05, 0.1])
    assert [scheduled for scheduled, _, _ in sent] == [0.0, 0.05, 0.1]
    assert all(began >= scheduled for scheduled, began, _ in sent)
    assert sorted(done is None for _, _, done in sent) == [False, False, True]


@pytest.mark.parametrize("missing", ["the emulator", "the time to start a function"])
def test_where_no_function_runs_the_handler_answers_in_this_process(
    monkeypatch, stand_in_path, missing
):
    def fails(*_) -> None:
        raise ServiceError(f"It misses {missing}.")

    monkeypatch.setattr(local, "check_emulator", lambda: Path("emulator"))
    if missing == "the emulator":
        monkeypatch.setattr(local, "check_emulator", fails)
    monkeypatch.setattr(local.Emulator, "start", fails)
    page = SAMPLE_PAGES / "show_font_002.jpg"
    service, where = local.model_service(Path(stand_in_path), workers=2)
    assert "in this process" in where and missing in where
    with closing(service), RemotePredictor(service.url) as remote:
        here = ParagraphTextRecognizer(stand_in_path).read(page)
        assert remote.read(page).lines == here.lines
    with pytest.raises(PredictorError):
        RemotePredictor(service.url, retries=0).predict(page)
