"""What both trainings feed on: numbered batches of made pages, and fixed ones to validate."""

import functools
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from text_recognizer.pages.generator import KINDS, PageGenerator, page_generator


class EpochSampler(Sampler[int]):
    """Numbers the batches of a run: epoch e holds the numbers e*n to (e+1)*n - 1.

    A batch is known by its number, so the epoch (which Lightning stores and sets again) is the
    whole state: a run that was stopped goes on exactly.
    """

    def __init__(self, batches_per_epoch: int) -> None:
        self.batches_per_epoch = batches_per_epoch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.batches_per_epoch
        yield from range(first, first + self.batches_per_epoch)


class MadeBatches(Dataset):
    """Batch number i of made pages, always the same for the same seed; several are made at once.

    Args:
        mix, split: of the pages; split is "train" or "validation".
        size: strips or pages in a batch.
    """

    groups: dict[str, int]
    """Split -> batches that are made at once."""

    def __init__(self, mix: dict[str, float], split: str, size: int, seed: int) -> None:
        self.mix, self.split, self.size, self.seed = mix, split, size, seed
        self.group = self.groups[split]
        self._made: tuple[int, list] = (-1, [])

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> Any:
        group, part = divmod(index, self.group)
        if self._made[0] != group:
            self._made = (group, self.make_group(group))
        return self._made[1][part]

    @functools.cached_property
    def generator(self) -> PageGenerator:
        """Made in the worker: strokes are not sent between processes."""
        return page_generator(self.mix, self.split)

    def make_group(self, group: int) -> list:
        """The `group` batches of that number."""
        raise NotImplementedError


class MadeData(pl.LightningDataModule):
    """Training batches of a mix of pages, and fixed validation batches, one loader for each kind.

    Args:
        batches: what makes them: `StripBatches` or `PageBatches`.
        mix: kind of page -> share.
        size: strips or pages in a batch.
        batches_per_epoch: training batches between two validations.
        validation_batches: of each kind.
        num_workers: 1 for a process that makes batches beside the training, 0 for none.
    """

    def __init__(
        self,
        batches: type[MadeBatches],
        mix: dict[str, float],
        size: int,
        batches_per_epoch: int = 100,
        validation_batches: int = 3,
        num_workers: int = 0,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.batches, self.mix, self.size, self.seed = batches, mix, size, seed
        self.num_workers = num_workers
        self.batches_per_epoch, self.validation_batches = batches_per_epoch, validation_batches
        self.validation_kinds = [kind for kind in KINDS if kind in mix]
        self._validation: list[list] | None = None

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.batches(self.mix, "train", self.size, self.seed),
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
                made = self.batches({kind: 1.0}, "validation", self.size, seed=0)
                self._validation.append([made[i] for i in range(self.validation_batches)])
        return [DataLoader(batches, batch_size=None) for batches in self._validation]


def one_thread(worker: int) -> None:
    """Keeps a worker that makes pages from taking the processors that training wants."""
    torch.set_num_threads(1)
