"""What both trainings feed on: numbered batches of made pages, and fixed ones to validate."""

from collections.abc import Callable

import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from text_recognizer.pages.generator import KINDS, TRAINING_MIX
from text_recognizer.train.sampling import EpochSampler, one_thread


class MadeData(pl.LightningDataModule):
    """Training batches of a mix of pages, and fixed validation batches, one loader for each kind.

    Args:
        mix: kind of page -> share; None for the training mix.
        made: gives the batches of a mix and a split (`train` or `validation`), by number.
        batches_per_epoch: training batches between two validations.
        validation_batches: of each kind.
    """

    def __init__(
        self,
        mix: dict[str, float] | None,
        made: Callable[[dict[str, float], str], Dataset],
        batches_per_epoch: int,
        validation_batches: int,
        num_workers: int,
    ) -> None:
        super().__init__()
        self.mix = mix or TRAINING_MIX
        self.made, self.num_workers = made, num_workers
        self.batches_per_epoch, self.validation_batches = batches_per_epoch, validation_batches
        self.validation_kinds = [kind for kind in KINDS if kind in self.mix]
        self._validation: list[list] | None = None

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.made(self.mix, "train"),
            batch_size=None,
            sampler=EpochSampler(self.batches_per_epoch),
            num_workers=self.num_workers,
            worker_init_fn=one_thread,
            persistent_workers=self.num_workers > 0,
            prefetch_factor=4 if self.num_workers else None,
        )

    def val_dataloader(self) -> list[DataLoader]:
        if self._validation is None:
            self._validation = []
            for kind in self.validation_kinds:
                made = self.made({kind: 1.0}, "validation")
                self._validation.append([made[i] for i in range(self.validation_batches)])
        return [DataLoader(batches, batch_size=None) for batches in self._validation]
