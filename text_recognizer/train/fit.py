"""One training run of one network, from its start weights to the exported best, resumable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.generator import KINDS, TRAINING_MIX
from text_recognizer.train.finder import FinderTraining
from text_recognizer.train.made_data import MadeData
from text_recognizer.train.pages_data import PageBatches
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.strips_data import StripBatches
from text_recognizer.train.trainer import interruptible, make_trainer
from text_recognizer.weights import export_checkpoint, load_weights

NETWORKS = ("reader", "finder")
LEARNING_RATES = {"reader": 1e-4, "finder": 2e-3}
VALIDATION_BATCHES = {"reader": 3, "finder": 8}
SCORES = {"reader": "cer", "finder": "lines_wrong"}
LONGEST_WARMUP = 100  # steps


class Table(BaseModel):
    """Settings as a TOML file has them: strict types, and no unknown keys."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


class Settings(Table):
    """What a run learns from, and how. Two runs of the same settings give the same weights on the
    same machine.

    Args:
        steps: of the optimizer in all, best a multiple of `validate_every`: what comes after the
            last validation is not kept.
        batch: strips (reader) or pages (finder) in a batch.
        learning_rate: AdamW's peak; None for the network's usual one.
        validate_every: steps.
        mix: kind of page -> share.
        ema: decay of the averaged weights, which are what is kept.
        seed: of the made pages.
        validation_batches: of each kind of page; None for the network's usual number.
    """

    steps: PositiveInt
    batch: PositiveInt = 16
    learning_rate: PositiveFloat | None = None
    validate_every: PositiveInt = Field(default_factory=lambda own: min(100, own.get("steps", 1)))
    mix: dict[Literal[KINDS], PositiveFloat] = Field(TRAINING_MIX, min_length=1)
    ema: float = Field(0.998, ge=0, lt=1)
    seed: NonNegativeInt = 1
    validation_batches: PositiveInt | None = None


@dataclass(frozen=True)
class Fitted:
    """The weights of the best validation in half precision, and its score (lower is better)."""

    weights: Path
    score: float
    monitored: str


def fit(
    network: str,
    settings: Settings,
    out: Path,
    start: Path | None = None,
    *,
    callbacks: Sequence[pl.Callback] = (),
    progress: bool = True,
    workers: int = 1,
) -> Fitted:
    """Trains, and goes on from the last validation where `out` holds a run that was stopped.

    Args:
        network: "reader" or "finder".
        settings: the same as before, where the run goes on.
        out: folder of the run: `last.ckpt`, `best.ckpt`, logs, and the weights at the end.
        start: safetensors file to start from; None for random weights.
        callbacks: Lightning's, besides those that keep and average the weights.
        progress: shows bars, and the scores of the start weights.
        workers: 1 for a process that makes pages beside the training, 0 for none.

    Raises KeyboardInterrupt at Ctrl-C, ModelFileError where `start` does not fit, RecognizerError
    where the run ends without a validation, and what the pages' sources raise.
    """
    pl.seed_everything(settings.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    module, data = _module_and_data(network, settings, workers)
    monitored = SCORES[network]
    if start:
        load_weights(getattr(module, network), start)
    # Both at the end of a validation: Lightning 2.6 resumes from there exactly, and from the end of
    # an epoch not. A `save_last` would be written only when the score was the best so far.
    best, last = (
        ModelCheckpoint(
            out,
            filename=name,
            monitor=monitor,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        for name, monitor in (("best", monitored), ("last", None))
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Lightning makes the average on the model's device, which is not the GPU yet.
    average = EMAWeightAveraging(
        device=device, decay=settings.ema, update_starting_at_step=min(50, settings.steps // 4)
    )
    bar = [TQDMProgressBar(refresh_rate=5)] if progress else []
    trainer = make_trainer(
        out,
        device,
        max_steps=settings.steps,
        logger=CSVLogger(out, name="log"),  # a folder a start: none is written over
        log_every_n_steps=10,
        callbacks=[best, last, average, *bar, *callbacks],  # `last` keeps the state of `best`
        enable_progress_bar=progress,
    )
    checkpoint = out / "last.ckpt"
    with interruptible(trainer):
        if not checkpoint.exists():
            trainer.validate(module, data, verbose=progress)  # where it started from
        trainer.fit(module, data, ckpt_path=checkpoint if checkpoint.exists() else None)
    if not (out / "best.ckpt").exists():
        raise RecognizerError(
            f"The run ended before its first validation, and nothing was kept: let it validate at "
            f"least every {settings.steps} steps."
        )
    # `best.ckpt` is named, not `best.best_model_path`: a folder that was moved holds the old path.
    exported = export_checkpoint(out / "best.ckpt", out / f"line_{network}")
    return Fitted(exported, float(best.best_model_score), monitored)


def _module_and_data(
    name: str, settings: Settings, workers: int
) -> tuple[pl.LightningModule, pl.LightningDataModule]:
    module_type = ReaderTraining if name == "reader" else FinderTraining
    data = MadeData(
        StripBatches if name == "reader" else PageBatches,
        settings.mix,
        settings.batch,
        settings.validate_every,
        settings.validation_batches or VALIDATION_BATCHES[name],
        workers,
        settings.seed,
    )
    module = module_type(
        settings.learning_rate or LEARNING_RATES[name],
        warmup_steps=min(LONGEST_WARMUP, settings.steps // 10),
        max_steps=settings.steps,
        kinds=tuple(data.validation_kinds),
    )
    return module, data
