"""The lines of the sample pages to train on: a run needs no fonts, no network and no other data.

The labels don't say where a line is, so the packaged finder cuts the pages up. Where it finds
another number of lines than the label has, nobody knows which is which, and the page is left out.
"""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.labels import Item, load_items
from text_recognizer.images import load_image
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.models.strips import cut_strips
from text_recognizer.places import project_folder
from text_recognizer.train.made_data import EpochSampler
from text_recognizer.train.strips_data import (
    MAX_TRAINING_WIDTH,
    Line,
    StripBatch,
    collate,
    usable_lines,
)
from text_recognizer.vocabulary import to_printable_ascii
from text_recognizer.weights import load_paragraph_reader

KIND = "sample"


def page_tensor(path: Path) -> Tensor:
    """An image file as the networks take it: (1, 1, H, W) uint8 gray."""
    page = load_image(path).page
    pixels = torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8)
    return pixels.view(1, 1, page.height, page.width)


def cut_lines(
    finder: ParagraphReader, page: Tensor, text: str, max_width: int = MAX_TRAINING_WIDTH
) -> list[Line]:
    """The lines of one page (1, 1, H, W) with their texts, from top to bottom.

    Empty where the finder finds another number of lines than the text has.
    """
    labels = text.split("\n")
    ink, paths, edges, reach, _ = finder.find_lines(page, None)[0]
    if paths.size(0) != len(labels):
        return []
    strips, widths = cut_strips(ink, paths, edges[0], edges[1], reach[0], reach[1])
    return usable_lines(strips, widths, map(to_printable_ascii, labels), max_width)


def sample_lines(
    pages: Path, split: str, limit: int | None = None, max_width: int = MAX_TRAINING_WIDTH
) -> list[Line]:
    """The lines up to `max_width` px of the first `limit` pages of a split (all if None), in the
    label file's order.

    Raises LabelsError where `pages` is no folder of labelled pages, and RecognizerError where no
    line can be used.
    """
    items = load_items(pages, kind="paragraph", split=split, limit=limit)
    finder = load_paragraph_reader()
    with torch.inference_mode():
        cut = [cut_lines(finder, page_tensor(item.path), item.text, max_width) for item in items]
    lines = [line for page in cut for line in page]
    if not lines:
        raise RecognizerError(f"No line of {pages} fits its label: use more pages, or others.")
    return lines


class LineBatches(Dataset[StripBatch]):
    """Batch number i, always the same for the same seed.

    In every pass each line is used once at most, in batches of about one width, so that little of
    them is padding; which lines meet, and in which order, is drawn for each pass.
    """

    def __init__(self, lines: list[Line], size: int, seed: int) -> None:
        self.lines, self.size, self.seed = lines, min(size, len(lines)), seed
        self.batches_per_pass = len(lines) // self.size

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> StripBatch:
        number, place = divmod(index, self.batches_per_pass)
        rng = np.random.default_rng([self.seed, number])
        widths = np.array([line.width for line in self.lines])
        order = np.argsort(widths * rng.uniform(0.8, 1.25, len(widths)), kind="stable")
        left_over = len(order) - self.batches_per_pass * self.size
        first = rng.integers(left_over + 1)
        first += self.size * rng.permutation(self.batches_per_pass)[place]
        return collate([self.lines[line] for line in order[first : first + self.size]])


class SampleLines(pl.LightningDataModule):
    """Training and validation batches of lines of the sample pages, for `ReaderTraining`.

    Args:
        pages: folder with `labels.json`; None for the sample pages that come with the project.
        lines: in a batch.
        batches_per_epoch: training batches between two validations; None for one pass.
        train_pages, validation_pages: use only so many of the split's pages; None for all.
        max_width: leaves longer lines out (px of a strip); time and memory go with the longest.
    """

    validation_kinds = (KIND,)

    def __init__(
        self,
        pages: Path | None = None,
        lines: int = 16,
        batches_per_epoch: int | None = None,
        train_pages: int | None = None,
        validation_pages: int | None = None,
        max_width: int = MAX_TRAINING_WIDTH,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.pages = pages or project_folder() / "data" / "pages"
        self.batch_size, self.batches_per_epoch, self.seed = lines, batches_per_epoch, seed
        self.limits = {"train": train_pages, "validation": validation_pages}
        self.max_width = max_width
        self._lines: dict[str, list[Line]] = {}

    def count(self, split: str) -> int:
        """How many lines of "train" or "validation" are used; raises what `sample_lines` does."""
        return len(self._cut(split))

    def items(self, split: str) -> list[Item]:
        """The pages of "train" or "validation", with what is written on them."""
        return load_items(self.pages, kind="paragraph", split=split, limit=self.limits[split])

    def _cut(self, split: str) -> list[Line]:
        if split not in self._lines:
            self._lines[split] = sample_lines(self.pages, split, self.limits[split], self.max_width)
        return self._lines[split]

    def train_dataloader(self) -> DataLoader:
        batches = LineBatches(self._cut("train"), self.batch_size, self.seed)
        sampler = EpochSampler(self.batches_per_epoch or batches.batches_per_pass)
        return DataLoader(batches, batch_size=None, sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        # Neighbours in width share a batch, so that little of it is padding.
        lines = sorted(self._cut("validation"), key=lambda line: line.width)
        size = self.batch_size
        batches = [collate(lines[i : i + size]) for i in range(0, len(lines), size)]
        return DataLoader(batches, batch_size=None)
