"""Trains the line finder on made pages, where every line's path is known."""

import pytorch_lightning as pl
import torch.nn.functional as F
from torch import Tensor

from text_recognizer.models.line_finder import LineFinder, follow_lines
from text_recognizer.train.pages_data import PageBatch
from text_recognizer.train.schedule import scheduled_adamw


class FinderTraining(pl.LightningModule):
    """The loss is on the density, on its cumulative sum down each column, and on its whole sum.

    The area between the two cumulative sums is how far the mass lies from where it should (the
    earth mover's distance in one dimension). It leads, but alone it learns slowly: a cell at the
    top moves every sum below it.

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
        self.found: dict[str, list[float]] = {}

    def training_step(self, batch: PageBatch, index: int) -> Tensor:
        density, above, below, present = self.finder(batch.ink, batch.sizes)
        inside = batch.density.sum(1) > 0.5  # (B, columns) that belong to the page
        lines = batch.counts[:, None]
        shape = (density - batch.density).abs().sum(1) / lines  # 0 to 2 a column
        moved = (density.cumsum(1) - batch.density.cumsum(1)).abs().mean(1)
        count = (density.sum(1) - lines).abs()
        placed = ((shape + moved + 0.3 * count) * inside).sum() / inside.sum().clamp_min(1)
        near = batch.near > 0
        reach = F.smooth_l1_loss(above[near].log(), batch.above[near].log(), beta=0.1)
        reach = reach + F.smooth_l1_loss(below[near].log(), batch.below[near].log(), beta=0.1)
        presence = F.binary_cross_entropy_with_logits(present[near], batch.present[near])
        loss = placed + reach + presence
        self.log_dict({"placed": placed, "reach": reach, "presence": presence}, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.found = {kind: [] for kind in self.hparams.kinds}

    def validation_step(self, batch: PageBatch, index: int, dataloader_idx: int = 0) -> None:
        density = self.finder(batch.ink, batch.sizes)[0]
        found = self.found[self.hparams.kinds[dataloader_idx]]
        for page in range(len(batch.counts)):
            columns = int((batch.density[page].sum(0) > 0.5).sum())
            truth = follow_lines(batch.density[page, :, :columns])
            paths = follow_lines(density[page, :, :columns].float())
            if len(paths) != len(truth):
                found += [0.0] * len(truth)
                continue
            reach = (batch.above[page] + batch.below[page])[batch.near[page] > 0].mean()
            near = (paths - truth).abs() < reach / 4
            found += (near.float().mean(1) > 0.9).float().tolist()

    def on_validation_epoch_end(self) -> None:
        wrong = [1 - sum(found) / max(len(found), 1) for found in self.found.values()]
        for kind, rate in zip(self.hparams.kinds, wrong, strict=True):
            self.log(f"wrong_{kind}", rate, prog_bar=True)
        self.log("lines_wrong", sum(wrong) / len(wrong), prog_bar=True)

    def configure_optimizers(self) -> dict:
        return scheduled_adamw(
            self.finder.parameters(),
            self.hparams.learning_rate,
            self.hparams.warmup_steps,
            self.hparams.max_steps,
        )
