"""What every training here shares: Lightning's Trainer as we set it, and the learning rate."""

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def make_trainer(out: Path, device: str, **options: Any) -> pl.Trainer:
    """Lightning's Trainer on one device, with `options` besides what is the same for all.

    It computes in bfloat16 on a GPU only: many processors have no instructions for it, and take
    seven times as long.

    Args:
        out: folder of logs and checkpoints.
        device: "cuda" or "cpu".
    """
    return pl.Trainer(
        default_root_dir=out,
        accelerator=device,
        devices=1,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        gradient_clip_val=1.0,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,  # metrics go on counting after a first `validate`
        **options,
    )


def rate_at(step: int, warmup_steps: int, max_steps: int) -> float:
    """The share of the peak rate: a linear warm-up, then half a cosine that ends at a fiftieth."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min((step - warmup_steps) / max(max_steps - warmup_steps, 1), 1.0)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


class ScheduledTraining(pl.LightningModule):
    """A training with AdamW whose rate warms up and falls to a fiftieth as a cosine. Its
    hyper-parameters are learning_rate (the peak), warmup_steps and max_steps (of the optimizer)."""

    def configure_optimizers(self) -> dict[str, Any]:
        rate = self.hparams.learning_rate
        optimizer = AdamW(self.parameters(), lr=rate, weight_decay=0.01)
        schedule = LambdaLR(optimizer, self.learning_rate_at)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def learning_rate_at(self, step: int) -> float:
        """The share of the peak rate at a step."""
        return rate_at(step, self.hparams.warmup_steps, self.hparams.max_steps)


@contextlib.contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Raises KeyboardInterrupt at Ctrl-C, where Lightning ends the process with code 1."""
    try:
        yield
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


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
