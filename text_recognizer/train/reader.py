"""Fine-tunes the line reader with CTC (Graves et al. 2006) on strips of made pages."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.text import CharErrorRate

from text_recognizer.compile import save_script, script_paragraph_reader
from text_recognizer.models.line_finder import LineFinder
from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.models.strips import STRIDE
from text_recognizer.train.strips_data import StripBatch
from text_recognizer.train.trainer import ScheduledTraining
from text_recognizer.vocabulary import BLANK, decode
from text_recognizer.weights import FINDER, load_weights, packaged_weights


def greedy_text(logits: Tensor, width: int) -> str:
    """The text of one strip's logits (W/8, C): best class of each frame, repeats and blanks out."""
    ids = logits[: width // STRIDE].argmax(1)
    return decode(torch.unique_consecutive(ids).tolist())


class ReaderTraining(ScheduledTraining):
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
            batch.frames,
            batch.lengths,
            blank=BLANK,
            zero_infinity=True,
        )
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: StripBatch, index: int, dataloader_idx: int = 0) -> None:
        logits = self.reader(batch.strips, batch.widths).float().cpu()
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

    def paragraph_reader(self) -> ParagraphReader:
        """This reader behind the packaged finder: what reads whole pages. Shares the weights."""
        finder = LineFinder()
        load_weights(finder, packaged_weights() / FINDER)
        return ParagraphReader(finder, self.reader).train(self.training)

    def to_torchscript(
        self,
        file_path: str | Path | None = None,
        method: str | None = "script",
        example_inputs: Any = None,
        **kwargs: Any,
    ) -> torch.jit.ScriptModule:
        """`paragraph_reader` as a TorchScript module in evaluation mode; written to `file_path`.

        Lightning's own method goes away in 2.8, scripts what the LightningModule holds, which is
        here half of what reads a page, and has leaked Lightning's classes into the script (issue
        19744). So this one scripts the plain modules. A trace would be wrong for the next page
        (see `models.paragraph_reader`): raises ValueError where one is asked for.
        """
        if method != "script":
            raise ValueError('The number of lines depends on the page: use method="script".')
        was_training = self.training
        script = script_paragraph_reader(self.paragraph_reader())
        self.train(was_training)
        if file_path is not None:
            save_script(script, Path(file_path))
        return script
