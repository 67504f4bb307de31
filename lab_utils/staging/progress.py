"""A bar for the steps of a training, on stderr, for whoever watches a terminal."""

import sys
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm


class StepBar(pl.Callback):
    """Shows steps, loss and CER; nothing where stderr is no terminal."""

    def __init__(self, steps: int) -> None:
        self.bar = tqdm(
            total=steps, desc="train", unit="step", file=sys.stderr, disable=None, leave=False
        )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.bar.update(trainer.global_step - self.bar.n)
        shown = {
            k: v for k, v in trainer.progress_bar_metrics.items() if k in ("train_loss", "cer")
        }
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in shown.items()})

    def on_fit_end(self, *_: Any) -> None:
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        self.bar.close()
