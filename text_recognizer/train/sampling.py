"""Which made pages a training step sees, so that a run that was stopped goes on exactly."""

from collections.abc import Iterator

import torch
import torch.distributed
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Numbers the batches of a run: epoch e holds the numbers e*n to (e+1)*n - 1, never one twice.

    A made page is known by its number, so the epoch (which Lightning stores and sets again) is the
    whole state. With several processes each takes its share.
    """

    def __init__(self, batches_per_epoch: int) -> None:
        self.batches_per_epoch = batches_per_epoch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def _rank_and_world(self) -> tuple[int, int]:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def __len__(self) -> int:
        return self.batches_per_epoch // self._rank_and_world()[1]

    def __iter__(self) -> Iterator[int]:
        rank, world = self._rank_and_world()
        first = self.epoch * self.batches_per_epoch
        yield from range(first + rank, first + len(self) * world, world)


def one_thread(worker: int) -> None:
    """Keeps a worker that makes pages from taking the processors that training wants."""
    torch.set_num_threads(1)
