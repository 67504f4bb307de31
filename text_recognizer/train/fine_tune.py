"""Fine-tunes the packaged line reader on lines of sample pages: the training behind `lab train`.

The caller brings the logger: nothing here knows where metrics go.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.sample_lines import SampleLines
from text_recognizer.train.trainer import interruptible, make_trainer, quiet
from text_recognizer.weights import READER, load_weights, packaged_weights

MAX_WARMUP = 100  # steps
BRIEF_WIDTH = 384  # px of a strip: short lines take seconds where long ones take half a minute


@dataclass(frozen=True)
class FineTuned:
    """A checkpoint, and how it reads the validation lines."""

    checkpoint: Path
    cer: float
    """Of the validation that the checkpoint was kept at, the lowest of the run."""
    step: int
    """Optimizer steps up to then."""
    cer_before: float | None
    """Of the packaged weights; None where that was not asked."""


class BestCheckpoint(pl.Callback):
    """Keeps the checkpoint of the validation with the lowest CER in one file.

    Lightning's ModelCheckpoint notes its paths and scores in the file. This one has no state, so
    that the same training gives the same bytes, wherever it writes them.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.cer, self.step = out, math.inf, 0

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        cer = float(trainer.callback_metrics["cer"])
        if trainer.state.fn == "fit" and not trainer.sanity_checking and cer < self.cer:
            self.cer, self.step = cer, trainer.global_step
            trainer.save_checkpoint(self.out)


def fine_tune(
    data: SampleLines,
    out: Path,
    steps: int,
    learning_rate: float,
    *,
    logger: Logger | None = None,
    progress: bool = False,
    score_packaged: bool = False,
) -> FineTuned:
    """Trains for `steps` optimizer steps from the packaged weights, quietly, on the processor.

    Args:
        data: its `batches_per_epoch` is the number of steps between two validations.
        out: the Lightning checkpoint to write; its folder is made.
        steps: should be a multiple of `data.batches_per_epoch`; what comes after the last
            validation is not kept.
        learning_rate: AdamW's peak; it falls as a cosine.
        logger: gets the loss of every step and the CER of every validation.
        progress: shows Lightning's bar.
        score_packaged: validates before the first step, too.

    The same arguments give the same bytes on the same machine. Raises KeyboardInterrupt at Ctrl-C,
    LabelsError or RecognizerError where the data cannot be used.
    """
    training = ReaderTraining(
        learning_rate,
        warmup_steps=max(1, min(MAX_WARMUP, steps // 10)),
        max_steps=steps,
        kinds=data.validation_kinds,
    )
    load_weights(training.reader, packaged_weights() / READER)
    out.parent.mkdir(parents=True, exist_ok=True)
    best = BestCheckpoint(out)
    with quiet():
        trainer = make_trainer(
            out.parent,
            "cpu",
            max_steps=steps,
            logger=logger or False,
            log_every_n_steps=max(1, steps // 1000),
            callbacks=[best],
            enable_checkpointing=False,  # `best` does it
            enable_progress_bar=progress,
        )
        before = None
        with interruptible(trainer):
            if score_packaged:
                [scores] = trainer.validate(training, data, verbose=False)
                before = scores["cer"]
            trainer.fit(training, data)
    return FineTuned(out, best.cer, best.step, before)


def train_briefly(
    out: Path,
    steps: int = 3,
    pages: int = 3,
    lines: int = 3,
    learning_rate: float = 1e-5,
    seed: int = 1,
) -> Path:
    """A training of a few seconds on the sample pages, for a checkpoint to look at.

    It is the real training, cut short: the network reads as it did before, and the file holds all
    that a long run's does.

    Args:
        out: the Lightning checkpoint to write; its folder is made.
        steps: of the optimizer, with a validation after the last.
        pages: sample pages to cut the lines from; one more is for validation.
        lines: in a batch.
        learning_rate: AdamW's peak; it falls as a cosine.

    Returns `out`. The same arguments give the same weights on the same machine.
    """
    data = SampleLines(
        lines=lines,
        batches_per_epoch=steps,
        train_pages=pages,
        validation_pages=1,
        max_width=BRIEF_WIDTH,
        seed=seed,
    )
    return fine_tune(data, out, steps, learning_rate).checkpoint
