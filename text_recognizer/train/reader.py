"""Fine-tunes the line reader with CTC (Graves et al. 2006) on strips of made pages."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.text import CharErrorRate

from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.strips import STRIDE
from text_recognizer.train.schedule import scheduled_adamw
from text_recognizer.train.strips_data import StripBatch
from text_recognizer.vocabulary import BLANK, decode


def greedy_text(logits: Tensor, width: int) -> str:
    """The text of one strip's logits (W/8, C): best class of each frame, repeats and blanks out."""
    ids = logits[: width // STRIDE].argmax(1)
    return decode(torch.unique_consecutive(ids).tolist())


class ReaderTraining(pl.LightningModule):
    """Args:
    learning_rate: peak of AdamW's rate, after the warm-up; it falls to a fiftieth as a cosine.
    warmup_steps, max_steps: the schedule's length in optimizer steps.
    kinds: names of the validation loaders, in their order.
    """

    def __init__(
        self,
        learning_rate: float = 1e-4,
        warmup_steps: int = 100,
        max_steps: int = 1000,
        kinds: tuple[str, ...] = ("font", "pen", "scan"),
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.reader = LineReader()
        self.cer = torch.nn.ModuleList([CharErrorRate() for _ in kinds])

    def training_step(self, batch: StripBatch, index: int) -> Tensor:
        logits = self.reader(batch.strips, batch.widths)
        log_probs = logits.float().log_softmax(2).transpose(0, 1)
        loss = F.ctc_loss(
            log_probs,
            batch.targets,
            batch.widths // STRIDE,
            batch.lengths,
            blank=BLANK,
            zero_infinity=True,
        )
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: StripBatch, index: int, dataloader_idx: int = 0) -> None:
        logits = self.reader(batch.strips, batch.widths)
        read = [greedy_text(one, w) for one, w in zip(logits, batch.widths.tolist(), strict=True)]
        said = [
            decode(ids[:n])
            for ids, n in zip(batch.targets.tolist(), batch.lengths.tolist(), strict=True)
        ]
        self.cer[dataloader_idx].update(read, said)

    def on_validation_epoch_end(self) -> None:
        rates = []
        for kind, metric in zip(self.hparams.kinds, self.cer, strict=True):
            rates.append(metric.compute())
            self.log(f"cer_{kind}", rates[-1], prog_bar=True)
            metric.reset()
        self.log("cer", torch.stack(rates).mean(), prog_bar=True)

    def configure_optimizers(self) -> dict:
        return scheduled_adamw(
            self.reader.parameters(),
            self.hparams.learning_rate,
            self.hparams.warmup_steps,
            self.hparams.max_steps,
        )
