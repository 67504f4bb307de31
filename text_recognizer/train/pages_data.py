"""Batches of page overviews for the finder, with the density, reach and presence to predict."""

from dataclasses import dataclass, fields

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from text_recognizer.models.line_finder import COLUMN, ROW
from text_recognizer.models.normalization import normalize_page
from text_recognizer.pages.generator import KINDS, TRAINING_MIX, Page, page_generator
from text_recognizer.train.sampling import EpochSampler, one_thread

# px of writing: in an overview of 512 px small writing looks the same, and costs half to make.
OVERVIEW_HEIGHTS = (18.0, 44.0)


@dataclass
class PageBatch:
    """ink (B, 1, H, W) in [0, 1]; sizes (B, 2) px of each overview; on the finder's grid
    (B, H/4, W/8): density, above and below (in rows), near (where a line's reach is told),
    present (whether there is writing) and its weight; counts (B,) lines."""

    ink: Tensor
    sizes: Tensor
    density: Tensor
    above: Tensor
    below: Tensor
    near: Tensor
    present: Tensor
    counts: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "PageBatch":
        moved = (getattr(self, one.name).to(device, non_blocking=True) for one in fields(self))
        return PageBatch(*moved)


def finder_targets(page: Page, height: int, width: int) -> dict[str, Tensor]:
    """What the finder should say of a page whose overview is `height` x `width` px.

    Each line puts a mass of one into every column of the grid, as a Gaussian bump at its path.
    """
    rows, columns = -(-height // ROW), -(-width // COLUMN)
    scale_x = width / page.image.shape[1]
    scale_y = height / page.image.shape[0]
    at = (np.arange(columns) + 0.5) * COLUMN / scale_x  # px of the page
    ys = np.arange(rows)[:, None] + 0.5
    names = ("density", "above", "below", "near", "present")
    target = {name: np.zeros((rows, columns), dtype=np.float32) for name in names}
    for line in page.lines:
        path = np.interp(at, line.path[:, 0], line.path[:, 1]) * scale_y / ROW
        above, below = line.above * scale_y / ROW, line.below * scale_y / ROW
        distance = ys - path[None]
        spread = max(0.12 * (above + below), 0.6)
        bump = np.exp(-0.5 * (distance / spread) ** 2)
        target["density"] += bump / np.maximum(bump.sum(axis=0, keepdims=True), 1e-6)
        near = np.abs(distance) < max(0.25 * (above + below), 0.75)
        target["above"][near] = above
        target["below"][near] = below
        target["near"][near] = 1
        written = (at > line.start) & (at < line.end)
        target["present"][near & written[None]] = 1
    return {name: torch.from_numpy(values) for name, values in target.items()}


class PageBatches(Dataset[PageBatch]):
    """Batch number i of `pages` pages, always the same for the same seed."""

    def __init__(self, mix: dict[str, float], split: str, pages: int, seed: int) -> None:
        self.mix, self.split, self.pages, self.seed = mix, split, pages, seed
        self.generator = None  # made in the worker: strokes are not sent between processes

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> PageBatch:
        if self.generator is None:
            self.generator = page_generator(self.mix, self.split)
        made = []
        for part in range(self.pages):
            page = self.generator.make([self.seed, index, part], heights=OVERVIEW_HEIGHTS)
            _, ink = normalize_page(torch.tensor(page.image)[None, None])
            made.append((page, ink, finder_targets(page, ink.size(2), ink.size(3))))
        return collate(made)


def collate(made: list[tuple[Page, Tensor, dict[str, Tensor]]]) -> PageBatch:
    sizes = torch.tensor([[ink.size(2), ink.size(3)] for _, ink, _ in made])
    rows, columns = (-(-int(sizes[:, 0].max()) // ROW)), (-(-int(sizes[:, 1].max()) // COLUMN))
    pages = torch.zeros(len(made), 1, rows * ROW, columns * COLUMN)
    grids = {name: torch.zeros(len(made), rows, columns) for name in made[0][2]}
    for index, (_, ink, target) in enumerate(made):
        pages[index, :, : ink.size(2), : ink.size(3)] = ink[0]
        for name, values in target.items():
            grids[name][index, : values.size(0), : values.size(1)] = values
    counts = torch.tensor([len(page.lines) for page, _, _ in made])
    return PageBatch(pages, sizes, counts=counts, **grids)


class PagesData(pl.LightningDataModule):
    """Training pages of a mix, and fixed validation pages of every kind in it, one loader each."""

    def __init__(
        self,
        mix: dict[str, float] | None = None,
        pages: int = 8,
        batches_per_epoch: int = 100,
        validation_batches: int = 8,
        num_workers: int = 1,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.mix = mix or TRAINING_MIX
        self.pages, self.seed, self.num_workers = pages, seed, num_workers
        self.batches_per_epoch, self.validation_batches = batches_per_epoch, validation_batches
        self.validation_kinds = [kind for kind in KINDS if kind in self.mix]
        self._validation: list[list[PageBatch]] | None = None

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            PageBatches(self.mix, "train", self.pages, self.seed),
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
                made = PageBatches({kind: 1.0}, "validation", self.pages, seed=0)
                self._validation.append([made[i] for i in range(self.validation_batches)])
        return [DataLoader(batches, batch_size=None) for batches in self._validation]
