"""Training: the numbers of its batches, and that a run that was stopped goes on exactly."""

import math
import signal

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from safetensors.torch import load_file

from text_recognizer.models.line_tracing import trace_lines
from text_recognizer.train import fit as fitting
from text_recognizer.train import pages_data
from text_recognizer.train.finder import FinderTraining, compare_lines
from text_recognizer.train.fit import Settings
from text_recognizer.train.pages_data import PageBatches
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.strips_data import StripBatches

STEPS, EVERY = 4, 2  # two epochs of two batches
NETWORKS = {"reader": ReaderTraining, "finder": FinderTraining}


def train(network: str, out, steps: int = STEPS, workers: int = 0) -> None:
    settings = Settings(
        steps=steps, batch=2, validate_every=EVERY, mix={"font": 1.0}, validation_batches=1
    )
    fitting.fit(network, settings, out, progress=False, workers=workers)


def stop_at(monkeypatch, module: type, step: int) -> None:
    """Presses Ctrl-C in place of the training step after `step` optimizer steps."""
    original = module.training_step

    def training_step(self, batch, index):
        if self.global_step == step:
            raise KeyboardInterrupt
        return original(self, batch, index)

    monkeypatch.setattr(module, "training_step", training_step)


@pytest.fixture
def short_runs(monkeypatch):
    """Averages the weights from the first step on, and makes pages of small writing."""
    monkeypatch.setattr(
        fitting,
        "EMAWeightAveraging",
        lambda decay, **_: EMAWeightAveraging(decay=0.5, update_starting_at_step=0),
    )
    monkeypatch.setattr(pages_data, "OVERVIEW_HEIGHTS", (8.0, 12.0))


def same(one, other) -> bool:
    """Whether two nested structures of tensors and plain values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def last_checkpoint(folder) -> dict:
    return torch.load(folder / "last.ckpt", map_location="cpu", weights_only=True)


# Numbers and rates


def test_the_rate_warms_up_and_falls_to_a_fiftieth():
    parts = FinderTraining(1.0, warmup_steps=10, max_steps=110).configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(120):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and rates[10] == pytest.approx(1)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[60] == pytest.approx(0.51, abs=0.01)
    assert rates[-1] == pytest.approx(0.02)


# Made batches


def test_strip_batches_are_the_same_for_the_same_number(fonts):
    one, other = (StripBatches({"font": 1.0}, "train", 4, seed=1) for _ in range(2))
    assert same(one[7].__dict__, other[7].__dict__)
    assert not torch.equal(one[7].strips[:, :, :, :16], one[8].strips[:, :, :, :16])
    batch = one[7]
    assert batch.strips.shape[:3] == (4, 1, 48)
    assert batch.strips.abs().max() <= 1 + 1e-5
    for strip, width, length in zip(batch.strips, batch.widths, batch.lengths, strict=True):
        assert (strip[:, :, width:] == 1).all(), "what is beyond a strip is paper"
        assert 0 < length <= width // 8
        assert strip[:, :, :width].min() < 0, "a strip without ink"


def test_page_batches_draw_every_line_where_it_is(fonts):
    dataset = PageBatches({"font": 1.0}, "train", 3, seed=1)
    batch = dataset[5]
    assert same(batch.__dict__, dataset[5].__dict__)
    for page, lines in enumerate(batch.lines):
        rows = math.ceil(int(batch.sizes[page, 0]) / 4)
        columns = math.ceil(int(batch.sizes[page, 1]) / 8)
        assert batch.inside[page].sum() == rows * columns
        assert batch.middle[page, rows:].sum() == 0 and batch.middle[page, :, columns:].sum() == 0
        found = trace_lines(
            batch.middle[page, :rows, :columns], (batch.above + batch.below)[page, :rows, :columns]
        )
        assert compare_lines(found, lines) == (len(lines[0]), 0), "a perfect finder finds them all"
        assert (batch.above[page][batch.near[page] > 0] > 0).all()


# Runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "workers"),
    [pytest.param("reader", 0, marks=pytest.mark.nightly), ("finder", 1)],
)
def test_a_run_that_was_stopped_goes_on_exactly(
    network, workers, fonts, tmp_path, monkeypatch, short_runs
):
    train(network, tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stop_at(patch, NETWORKS[network], 3)  # amid the second epoch
        with pytest.raises(KeyboardInterrupt):  # the command says how to go on
            train(network, tmp_path / "parts", workers=workers)
    signal.signal(signal.SIGINT, handler)  # Lightning ignores the signal from then on
    before = last_checkpoint(tmp_path / "parts")
    assert before["global_step"] == 2
    train(network, tmp_path / "parts", workers=workers)

    whole, parts = last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "parts")
    assert whole["global_step"] == parts["global_step"] == STEPS
    assert not same(whole["current_model_state"], before["current_model_state"])
    for part in ("current_model_state", "state_dict", "averaging_state", "optimizer_states"):
        assert same(whole[part], parts[part]), part
    rates = [[one["_last_lr"] for one in run["lr_schedulers"]] for run in (whole, parts)]
    assert rates[0] == rates[1]
    name = f"line_{network}.safetensors"
    exported = load_file(tmp_path / "whole" / name)
    assert same(exported, load_file(tmp_path / "parts" / name))
    # What is kept is the average of the weights at the best validation.
    best = torch.load(tmp_path / "whole" / "best.ckpt", map_location="cpu", weights_only=True)
    assert exported.keys() == getattr(NETWORKS[network](), network).state_dict().keys()
    for name, values in exported.items():
        averaged = best["state_dict"][f"{network}.{name}"]
        torch.testing.assert_close(values, averaged.to(values.dtype))
    assert not same(best["state_dict"], best["current_model_state"])
