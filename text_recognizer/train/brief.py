"""A training of a few seconds on the sample pages, for whoever needs a checkpoint to look at.

It is the real training, cut short: the network hardly changes, the file holds all that a long run's
does.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl

from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.sample_lines import SampleLines
from text_recognizer.weights import load_weights, packaged_weights

MAX_WIDTH = 384  # px of a strip: short lines take seconds where long ones take half a minute


def train_briefly(
    out: Path,
    steps: int = 4,
    pages: int = 3,
    lines: int = 4,
    learning_rate: float = 1e-5,
    seed: int = 1,
) -> Path:
    """Fine-tunes the packaged line reader for a few steps, quietly and on the processor.

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
        max_width=MAX_WIDTH,
        seed=seed,
    )
    training = ReaderTraining(
        learning_rate, warmup_steps=1, max_steps=steps, kinds=data.validation_kinds
    )
    load_weights(training.reader, packaged_weights() / "line_reader.safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    with quiet():
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            gradient_clip_val=1.0,
            default_root_dir=out.parent,
            logger=False,
            enable_checkpointing=False,  # one is saved below, when all is done
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # EpochSampler shares the batches out itself
        )
        trainer.fit(training, data)
        trainer.save_checkpoint(out)
    return out


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps Lightning's notes on hardware, and its advice on worker counts, from the output."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
