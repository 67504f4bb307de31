"""Trains the line finder on made pages, where every line's path is known."""

import torch.nn.functional as F
from torch import Tensor

from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_tracing import trace_lines
from text_recognizer.train.pages_data import PageBatch
from text_recognizer.train.trainer import ScheduledTraining


def compare_lines(
    found: tuple[Tensor, Tensor], known: tuple[Tensor, Tensor, Tensor]
) -> tuple[int, int]:
    """How many known lines were found, and how many were found that are none or are found twice.

    A line is found if one of those found keeps within a quarter of the writing's height of it over
    nine tenths of its columns, and covers these to 85 %. found: what `trace_lines` returns. known:
    paths (N, columns), edges (N, 2), heights (N,), in the grid's rows and columns.
    """
    paths, edges = found
    right = 0
    for path, (first, last), height in zip(*known, strict=True):
        part = slice(int(first), int(last) + 1)
        near = (paths[:, part] - path[part]).abs() < max(float(height) / 4, 0.75)
        covered = edges[:, 1].clamp_max(int(last)) - edges[:, 0].clamp_min(int(first)) + 1
        right += bool(((near.float().mean(1) > 0.9) & (covered > 0.85 * (last - first + 1))).any())
    return right, max(len(paths) - right, 0)


class FinderTraining(ScheduledTraining):
    """Binary cross-entropy on the ridges, for each column of a line; on the reach, where a line is,
    a distance of logarithms, so that small writing counts as much as large.

    Args:
        learning_rate: peak of AdamW's rate; it falls as a cosine.
        warmup_steps, max_steps: the schedule's length in optimizer steps.
        kinds: names of the validation loaders, in their order.
    """

    def __init__(
        self,
        learning_rate: float = 2e-3,
        warmup_steps: int = 100,
        max_steps: int = 2000,
        kinds: tuple[str, ...] = ("font", "pen", "scan"),
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.finder = LineFinder()
        self.right: dict[str, int] = {}
        self.lines: dict[str, int] = {}

    def training_step(self, batch: PageBatch, index: int) -> Tensor:
        middle, above, below = self.finder(batch.ink, batch.sizes)
        near = batch.near > 0
        columns = sum(int((edges[:, 1] - edges[:, 0] + 1).sum()) for _, edges, _ in batch.lines)
        ridges = F.binary_cross_entropy_with_logits(
            middle, batch.middle, weight=batch.inside, reduction="sum"
        )
        ridges = ridges / max(columns, 1)
        reach = F.smooth_l1_loss(above[near].log(), batch.above[near].log(), beta=0.1)
        reach = reach + F.smooth_l1_loss(below[near].log(), batch.below[near].log(), beta=0.1)
        self.log_dict({"ridges": ridges, "reach": reach}, prog_bar=True)
        return ridges + reach

    def on_validation_epoch_start(self) -> None:
        self.right = {kind: 0 for kind in self.hparams.kinds}
        self.lines = {kind: 0 for kind in self.hparams.kinds}

    def validation_step(self, batch: PageBatch, index: int, dataloader_idx: int = 0) -> None:
        middle, above, below = self.finder(batch.ink, batch.sizes)
        kind = self.hparams.kinds[dataloader_idx]
        for page in range(len(batch.lines)):
            inside = batch.inside[page] > 0
            rows, columns = int(inside[:, 0].sum()), int(inside[0].sum())
            found = trace_lines(
                middle[page, :rows, :columns].float().sigmoid(),
                (above + below)[page, :rows, :columns].float(),
            )
            right, false = compare_lines(found, batch.lines[page])
            self.right[kind] += right
            self.lines[kind] += len(batch.lines[page][0]) + false

    def on_validation_epoch_end(self) -> None:
        wrong = [1 - self.right[kind] / max(self.lines[kind], 1) for kind in self.hparams.kinds]
        for kind, rate in zip(self.hparams.kinds, wrong, strict=True):
            self.log(f"wrong_{kind}", rate, prog_bar=True)
        self.log("lines_wrong", sum(wrong) / len(wrong), prog_bar=True)
