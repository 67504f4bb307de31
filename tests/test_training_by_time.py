"""Training by time: lines made ahead, batches of them, and a best that is always whole."""

import copy
import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch

from text_recognizer.errors import RecognizerError
from text_recognizer.models.widening import widened
from text_recognizer.train import by_time
from text_recognizer.train.by_time import TimedSettings, train_for, varied
from text_recognizer.train.makers import TRAIN, MadeLines
from text_recognizer.train.strip_pool import StripPool
from text_recognizer.train.strips_data import MAX_TRAINING_WIDTH
from text_recognizer.vocabulary import encode
from text_recognizer.weights import load_line_reader, packaged_weights, save_weights

START = packaged_weights() / "line_reader.safetensors"


def made_lines(count: int, width: int = 120) -> MadeLines:
    """Lines that all say the same, each of a gray of its own."""
    strips = [np.full((48, width), 100 + number % 100, np.uint8) for number in range(count)]
    return MadeLines(np.concatenate(strips, axis=1), [width] * count, [encode("ab")] * count)


# The wider reader


@pytest.mark.parametrize("width", [1, 2, 3])
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
    assert pool.made == 10 and pool.trained == sum(len(one.widths) for one in seen)
    narrow = next(one for one in seen if one.strips.size(2) == 192)
    assert (narrow.strips[:, :, 120:] == 255).all() and (narrow.strips[:, :, :120] < 255).all()
    assert narrow.targets[0, : int(narrow.lengths[0])].tolist() == encode("ab")
    assert sum(len(one.widths) for one in pool.every(512)) == 10


def test_batches_have_one_shape_for_each_width_from_the_first_line_on():
    pool = StripPool(seed=1)
    shapes, widths = set(), np.random.default_rng(1).integers(60, MAX_TRAINING_WIDTH + 1, 400)
    for width in widths.tolist():
        pool.add(made_lines(1, width))
        shapes.add(tuple(pool.batch(16 * 704).strips.shape))
    assert len({shape[2] for shape in shapes}) == len(shapes) <= 8
    assert all(count == max(16 * 704 // width, 4) for count, _, width in shapes)


def test_lines_of_all_widths_are_used_equally_often():
    pool = StripPool(seed=1)
    for width in (150, 1400):
        pool.add(made_lines(100, width))
    lines = {192: 0, 1408: 0}
    for _ in range(2000):
        count, _, width = pool.batch(10 * 704).strips.shape
        lines[width] += count
    assert lines[192] == pytest.approx(lines[1408], rel=0.25)


def test_a_full_pool_keeps_its_size():
    pool = StripPool(most=10, seed=1)
    for _ in range(5):
        pool.add(made_lines(10))
        while any(not bool(used) for used in pool.batch(10 * 192).used):
            pass
    assert pool.made == 50 and len(pool) == 10


def test_only_lines_that_were_seen_before_are_varied():
    torch.manual_seed(0)
    strips = torch.rand(2, 1, 48, 64) * 2 - 1
    changed = varied(strips, torch.tensor([False, True]))
    assert torch.allclose(changed[0], strips[0], atol=1e-4)
    assert not torch.allclose(changed[1], strips[1], atol=0.05)


# The training


class FakeMakers:
    """Gives made lines without processes."""

    kinds = ("font",)
    validating = 0

    def __init__(self, *_):
        self.left = [("font", made_lines(2)), (TRAIN, made_lines(8))]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def fetch(self, seconds=0.0):
        left, self.left = self.left, [(TRAIN, made_lines(8))]
        return iter(left)


@pytest.fixture
def steps(monkeypatch):
    """A training with a clock that counts: each look at it is a tenth of a second later."""
    ticks = itertools.count()
    monkeypatch.setattr(by_time.time, "monotonic", lambda: next(ticks) / 10)
    monkeypatch.setattr(by_time, "Makers", FakeMakers)
    rates = itertools.chain([0.5, 0.4, 0.6], itertools.repeat(0.45))
    monkeypatch.setattr(by_time._Training, "_cer", lambda self, pool: next(rates))
    settings = TimedSettings(0.2, batch=2, workers=1, validate_every=2, first_lines=4)
    return lambda out, **changed: train_for(
        dataclasses.replace(settings, **changed), out, device="cpu", say=lambda _: None
    )


def test_the_best_validation_is_kept_and_the_rate_follows_the_time(steps, tmp_path):
    trained = steps(tmp_path / "run")
    assert trained.score == 0.4 and len(trained.validations) >= 3
    load_line_reader(trained.weights)
    rates = [one.learning_rate for one in trained.validations]
    assert rates[-1] < 0.5 * max(rates)
    document = json.loads((tmp_path / "run" / "training.json").read_text())
    assert [one["cer"] for one in document["validations"]][:3] == [0.5, 0.4, 0.6]
    assert document["validations"][-1]["lines_trained"] > 0


def test_it_waits_for_lines_and_uses_few_of_them_often_at_the_start(steps, tmp_path):
    trained = steps(tmp_path / "run", first_lines=1000)
    last = trained.validations[-1]
    assert 0.1 * 12 < trained.validations[0].seconds < 0.2 * 12
    assert max(one.learning_rate for one in trained.validations) <= 3e-4
    assert last.lines_trained <= 10 * last.lines_made


def test_lines_that_come_when_the_time_is_over_are_trained_on_once(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(by_time, "RESERVE", 1e6)
    assert steps(tmp_path / "run").validations[-1].steps == 1


def test_out_of_memory_halves_the_batch_and_goes_on(steps, tmp_path, monkeypatch):
    real = by_time._Training._learn

    def learn(self, batch):
        if self.lines > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(self, batch)

    monkeypatch.setattr(by_time._Training, "_learn", learn)
    trained = steps(tmp_path / "run")
    assert trained.batch == 1 and "out of memory" in trained.notes[0]
    assert trained.validations[-1].steps > 0


def test_a_stop_in_the_middle_leaves_the_best_whole(steps, tmp_path, monkeypatch):
    real, count = by_time._Training._learn, itertools.count()

    def learn(self, batch):
        if next(count) == 3:
            raise KeyboardInterrupt
        real(self, batch)

    monkeypatch.setattr(by_time._Training, "_learn", learn)
    with pytest.raises(KeyboardInterrupt):
        steps(tmp_path / "run")
    load_line_reader(tmp_path / "run" / "line_reader.safetensors")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "line_reader.safetensors",
        "training.json",
    }


def test_weights_that_are_no_longer_finite_are_given_up(steps, tmp_path, monkeypatch):
    real, count = by_time._Training._learn, itertools.count()

    def learn(self, batch):
        real(self, batch)
        if next(count) == 0:
            self.losses.append(torch.tensor(math.nan))

    monkeypatch.setattr(by_time._Training, "_learn", learn)
    trained = steps(tmp_path / "run")
    assert any("diverged" in note for note in trained.notes)
    before = copy.deepcopy(load_line_reader(trained.weights).state_dict())
    assert all(bool(value.isfinite().all()) for value in before.values())


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecognizerError, match="another folder"):
        train_for(TimedSettings(0.01), tmp_path / "file" / "run", device="cpu")


def test_made_by_processes_and_learnt_from(fonts, tmp_path):
    settings = TimedSettings(
        0.05, mix={"font": 1.0}, batch=1, workers=1, validation_pages=1, first_lines=2
    )
    trained = train_for(settings, tmp_path / "run", device="cpu", say=lambda _: None)
    assert trained.validations[0].cer < 0.3 and trained.validations[-1].lines_made > 0
