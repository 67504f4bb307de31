"""Training by time: lines made ahead, batches of them, and a best that is always whole."""

import dataclasses
import itertools
import json
import math
import signal
import time

import numpy as np
import pytest
import torch

from text_recognizer.errors import RecognizerError
from text_recognizer.models.widening import widened
from text_recognizer.train import by_time
from text_recognizer.train.by_time import TimedSettings, train_for
from text_recognizer.train.lines_ahead import TRAIN, LinesAhead, MadePages, StripPool
from text_recognizer.vocabulary import encode
from text_recognizer.weights import load_line_reader, packaged_weights, save_weights

START = packaged_weights() / "line_reader.safetensors"


def made_lines(count: int, width: int = 120) -> list:
    """Lines that all say the same, each of a gray of its own."""
    grays = [np.full((48, width), 100 + number % 100, np.uint8) for number in range(count)]
    return [(strip, encode("ab")) for strip in grays]


# The wider reader


@pytest.mark.parametrize("width", [1, 2])
def test_a_widened_reader_gives_the_same_logits_and_its_copies_learn_apart(width, tmp_path):
    narrow = load_line_reader(START).eval()
    wide = widened(narrow, width)
    strips, widths = torch.rand(2, 1, 48, 160) * 2 - 1, torch.tensor([160, 88])
    with torch.no_grad():
        assert torch.allclose(wide(strips, widths), narrow(strips, widths), atol=1e-3)
    again = load_line_reader(save_weights(wide.state_dict(), tmp_path / "wide.safetensors"))
    assert again.width == width
    if width > 1:
        wide(strips, widths).square().mean().backward()
        first, second = wide.backbone.stages[0][0].expand.weight.grad.chunk(width)[:2]
        assert not torch.allclose(first, second)


# The pool of lines


def test_a_pool_serves_new_lines_first_and_counts_what_is_used_again():
    pool = StripPool(seed=1)
    pool.add(made_lines(6))
    pool.add(made_lines(4, width=700))
    seen = [pool.batch(4 * 192) for _ in range(40)]
    for width, new in ((192, 6), (864, 4)):
        used = torch.cat([one.used for one in seen if one.strips.size(2) == width])
        assert int((~used).sum()) == new
    assert pool.made == 10 and pool.taken == sum(len(one.widths) for one in seen)
    narrow = next(one for one in seen if one.strips.size(2) == 192)
    assert (narrow.strips[:, :, 120:] == 255).all() and (narrow.strips[:, :, :120] < 255).all()
    assert narrow.targets[0, : int(narrow.lengths[0])].tolist() == encode("ab")
    assert sum(len(one.widths) for one in pool.every(512)) == 10


def test_a_full_pool_keeps_its_size():
    pool = StripPool(most=10, seed=1)
    for _ in range(5):
        pool.add(made_lines(10))
        while any(not bool(used) for used in pool.batch(10 * 192).used):
            pass
    assert pool.made == 50 and len(pool) == 10


# The training


class FewPages(MadePages):
    """Lines without pages: they need no fonts."""

    def __init__(self, *_):
        self.kinds, self.validation_pages, self.seed = ["font"], 1, 1

    def __iter__(self):
        yield "font", made_lines(2)
        while True:
            yield TRAIN, made_lines(8)
            time.sleep(0.1)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A training of a second or two, whose validations have CERs of 0.5, 0.4 and more."""
    monkeypatch.setattr(by_time, "RESERVE", 0.5)
    monkeypatch.setattr(by_time, "MadePages", FewPages)
    rates = itertools.chain([0.5, 0.4], itertools.repeat(0.6))

    def scores(training):
        training.log_dict(dict.fromkeys(["cer", "cer_font"], next(rates)))

    monkeypatch.setattr(by_time.TimedTraining, "on_validation_epoch_end", scores)
    settings = TimedSettings(0.04, batch=2, workers=1, validate_every=0.5, first_lines=4)

    def train(**changed):
        changed = dataclasses.replace(settings, **changed)
        return train_for(changed, tmp_path / "run", device="cpu", say=lambda _: None)

    return train


def fail_at_first(monkeypatch, error: BaseException) -> None:
    """Raises the error in place of the first training step."""
    real, count = by_time.TimedTraining.training_step, itertools.count()

    def training_step(self, batch, index):
        if next(count) == 0:
            raise error
        return real(self, batch, index)

    monkeypatch.setattr(by_time.TimedTraining, "training_step", training_step)


def test_the_best_validation_is_kept_and_the_rate_follows_the_time(run, tmp_path, monkeypatch):
    current, real = [], by_time.TimedTraining.on_validation_epoch_end

    def scores(training):
        real(training)  # after the callbacks: the weights are those that are trained again
        current.append(training.reader.head.weight.detach().clone())

    monkeypatch.setattr(by_time.TimedTraining, "on_validation_epoch_end", scores)
    trained = run(minutes=0.05, validate_every=60)  # it validates at the start and at the end
    kept = load_line_reader(trained.weights).head.weight
    assert not torch.allclose(kept, current[1], atol=1e-5), "what is kept are averaged weights"
    assert trained.score == pytest.approx(0.4) and len(trained.validations) >= 2
    last = trained.validations[-1]
    assert last.learning_rate < 0.3e-4 and last.steps > 0
    document = json.loads((tmp_path / "run" / "training.json").read_text())
    assert [one["cer"] for one in document["validations"]][:2] == pytest.approx([0.5, 0.4])
    assert document["validations"][-1]["lines_trained"] > 0


def test_out_of_memory_halves_the_batch_and_goes_on(run, monkeypatch):
    fail_at_first(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    trained = run()
    assert trained.batch == 1 and "out of memory" in trained.notes[0]
    assert trained.validations[-1].steps > 0


def test_a_stop_in_the_middle_leaves_the_best_whole(run, monkeypatch, tmp_path):
    fail_at_first(monkeypatch, KeyboardInterrupt())
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores the signal from then on
    load_line_reader(tmp_path / "run" / "line_reader.safetensors")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"line_reader.safetensors", "training.json"}


def test_pages_that_cannot_be_made_are_one_line(run, monkeypatch):
    def pages(self):
        yield "font", made_lines(2)
        raise OSError("a font is damaged")

    monkeypatch.setattr(FewPages, "__iter__", pages)
    with pytest.raises(RecognizerError, match="failed: OSError: a font is damaged") as error:
        run()
    assert "\n" not in str(error.value)


def test_lines_are_made_by_processes(fonts):
    pages = MadePages({"font": 1.0}, validation_pages=1, seed=1)
    with LinesAhead(pages, processes=1, most=100) as lines:
        lines.wait(lambda: not lines.validation_pages_left and len(lines.train), math.inf)
        batch = lines.batch(192, uses=lambda: 2.0, until=math.inf)
    assert batch.strips.shape[1] == 48 and batch.strips.min() < 128 < batch.strips.max()
    assert len(lines.validation["font"]) > 0 and batch.lengths.min() > 0
