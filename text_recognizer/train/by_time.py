"""Trains the line reader for some minutes: on a GPU that is at hand for so long and no longer.

The clock rules: the learning rate follows the time, validations come every so many seconds, and
lines come from a pool that processes fill. The best weights are always on the disk, whole. A run
that runs out of memory goes on with half the batch.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from text_recognizer.errors import is_out_of_memory
from text_recognizer.files import replacing
from text_recognizer.models.widening import widened
from text_recognizer.pages.generator import TRAINING_MIX
from text_recognizer.threads import usable_processors
from text_recognizer.train.lines_ahead import LinesAhead, MadePages
from text_recognizer.train.reader import ReaderTraining
from text_recognizer.train.strips_data import StripBatch
from text_recognizer.train.trainer import interruptible, make_trainer, quiet, rate_at
from text_recognizer.weights import READER, load_line_reader, packaged_weights, save_weights

Say = Callable[[str], None]

TYPICAL_WIDTH = 704
"""px of a strip: a batch of n lines has n times so many px."""
GPU_BATCH, CPU_BATCH = 256, 8
"""Lines in a batch: on a GPU, many enough to fill it and few enough for many steps."""
RATE, RATE_BATCH, MOST_RATE = 1.5e-4, 16, 3e-4
"""The peak rate that trained the packaged weights and its batch; with AdamW, the rate grows with
the square root of the batch. At 6e-4 and with few lines, a first run on a GPU lost in its first
minute what it did not win back in seven."""
GATHERING = 0.1
"""Of the time, at most, in which the first lines are made and nothing is trained."""
EMA, EMA_EVERY = 0.998, {"cuda": 10, "cpu": 1}
"""Decay a step of the averaged weights, and the steps between two of their updates, each of which
waits for the GPU."""
USES = (2.0, 10.0)
"""Of a line on average, at the start and at the end; beyond it, training waits for new lines."""
RESERVE = 4.0
"""s at the end for the last validation."""


@dataclass(frozen=True)
class TimedSettings:
    """What a training by time does.

    Args:
        minutes: from the start of `train_for` to its end.
        width: times the channels of the packaged reader (`widened`), if the start is narrower.
        validate_every: s.
        mix: kind of page -> share.
        batch: lines of a typical width in a batch; None: GPU_BATCH or CPU_BATCH.
        workers: processes that make lines; None: one for each processor but one.
        validation_pages: of each kind.
        first_lines: lines that are there before the first step, if GATHERING is enough for them.
    """

    minutes: float
    width: int = 1
    validate_every: float = 20.0
    mix: Mapping[str, float] = field(default_factory=lambda: dict(TRAINING_MIX))
    batch: int | None = None
    workers: int | None = None
    seed: int = 1
    validation_pages: int = 40
    first_lines: int = 20_000


@dataclass(frozen=True)
class Validation:
    """How far the training was at a validation, and how well it read."""

    seconds: float
    cer: float
    by_kind: dict[str, float]
    steps: int
    batch: int
    learning_rate: float
    loss: float | None
    """Mean since the validation before; None where nothing was trained, or it is not finite."""
    lines_made: int
    lines_trained: int
    waited_seconds: float
    """s in which there were too few new lines to train on."""
    made_per_second: float
    trained_per_second: float
    """Since the first step, without validations."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {cer:.4f}" for kind, cer in self.by_kind.items())
        uses = self.lines_trained / max(self.lines_made, 1)
        return (
            f"{self.seconds:.0f} s, step {self.steps}: cer {self.cer:.4f} ({kinds}); "
            f"{self.made_per_second:,.0f} lines/s made, {self.trained_per_second:,.0f} trained, "
            f"each {uses:.1f} times; {self.waited_seconds:.1f} s waited for lines"
        )


@dataclass(frozen=True)
class Trained:
    """The best weights in half precision, and every validation; the first is of the start."""

    weights: Path
    score: float
    validations: list[Validation]
    batch: int
    notes: list[str]


class Clock:
    """The time of one training."""

    def __init__(self, minutes: float) -> None:
        self.began, self.total = time.monotonic(), 60 * minutes
        self.gathered = 0.0
        """s until the first lines were there."""

    @property
    def seconds(self) -> float:
        """s since the start."""
        return time.monotonic() - self.began

    @property
    def share(self) -> float:
        """The share of the time that is over, in [0, 1]."""
        return min(self.seconds / self.total, 1.0)

    @property
    def trained(self) -> float:
        """The share of the time to train in that is over, in [0, 1]."""
        return min((self.seconds - self.gathered) / max(self.total - self.gathered, 0.01), 1.0)

    @property
    def left(self) -> float:
        """s in which to train, at least a moment: on a busy machine, the time may be over when the
        first lines are there."""
        return max(self.total - RESERVE - self.seconds, 0.01)


class TimedTraining(ReaderTraining):
    """The reader's training with batches of bytes, and a rate that follows a `clock`."""

    clock: Clock

    def on_after_batch_transfer(self, batch: StripBatch, dataloader_idx: int) -> StripBatch:
        batch.strips = varied(as_floats(batch.strips), batch.used)
        return batch

    def learning_rate_at(self, step: int) -> float:
        return rate_at(round(1000 * self.clock.trained), 100, 1000)


class Keeper(pl.Callback):
    """Keeps the weights of the best validation and a history, in files that are always whole.

    It comes before the callback that averages the weights: at the end of a validation, that one
    has not put the trained weights back yet.
    """

    def __init__(
        self, settings: TimedSettings, out: Path, lines: LinesAhead, clock: Clock, say: Say
    ) -> None:
        self.settings, self.out, self.lines = settings, out, lines
        self.clock, self.say = clock, say
        self.weights = out / READER
        self.validations: list[Validation] = []
        self.notes: list[str] = []
        self.batch = self.steps = 0
        self._losses: list[Tensor] = []
        self._training = 0.0  # s without validations
        self._resumed: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        self._resumed = self._resumed or time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.steps += 1
        self._losses.append(outputs["loss"].detach())  # not read here: that waits for the GPU

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._resumed is not None:
            self._training += time.monotonic() - self._resumed
            self._resumed = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: ReaderTraining) -> None:
        state = module.reader.state_dict()
        self._state = {name: value.detach().cpu().clone() for name, value in state.items()}

    def on_validation_end(self, trainer: pl.Trainer, module: ReaderTraining) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        cer = scores["cer"]
        if cer < min((one.cer for one in self.validations), default=math.inf):
            save_weights(self._state, self.weights)
        loss = float(torch.stack(self._losses).mean()) if self._losses else math.nan
        self._losses = []
        train = self.lines.train
        done = Validation(
            seconds=self.clock.seconds,
            cer=cer,
            by_kind={kind: scores[f"cer_{kind}"] for kind in module.hparams.kinds},
            steps=self.steps,
            batch=self.batch,
            learning_rate=module.hparams.learning_rate * module.learning_rate_at(0),
            loss=loss if math.isfinite(loss) else None,
            lines_made=train.made,
            lines_trained=train.taken,
            waited_seconds=self.lines.waited,
            made_per_second=train.made / max(self.clock.seconds, 1e-9),
            trained_per_second=train.taken / max(self._training, 1e-9),
        )
        self.validations.append(done)
        self.say(str(done))
        self._write(str(module.device))

    def _write(self, device: str) -> None:
        document = {
            "settings": {**asdict(self.settings), "mix": dict(self.settings.mix)},
            "device": device,
            "notes": self.notes,
            "validations": [asdict(one) for one in self.validations],
        }
        with replacing(self.out / "training.json") as partial:
            partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def train_for(
    settings: TimedSettings,
    out: Path,
    start: Path | None = None,
    device: str = "cuda",
    say: Say = print,
) -> Trained:
    """Trains for `settings.minutes` and keeps the weights of the best validation.

    Args:
        out: folder for `line_reader.safetensors` and `training.json`; both are always whole.
        start: safetensors file of a reader; None for the packaged one.
        device: "cuda" or "cpu".

    Raises KeyboardInterrupt at Ctrl-C, with the best weights so far on the disk; RecognizerError
    where `start` does not fit or lines can't be made.
    """
    clock = Clock(settings.minutes)
    out.mkdir(parents=True, exist_ok=True)
    reader = load_line_reader(start or packaged_weights() / READER)
    if reader.width == 1 and settings.width > 1:
        reader = widened(reader, settings.width, settings.seed)
    is_gpu = device == "cuda"
    pages = MadePages(settings.mix, settings.validation_pages, settings.seed)
    workers = settings.workers or max(1, usable_processors() - 1)
    # The processes are forked before the GPU is touched, which a fork can't share.
    with LinesAhead(pages, workers, 400_000 if is_gpu else 20_000, pin=is_gpu) as lines, quiet():
        _gather(lines, settings, clock)
        torch.manual_seed(settings.seed)
        torch.set_float32_matmul_precision("high")
        keeper = Keeper(settings, out, lines, clock, say)
        batch = settings.batch or (GPU_BATCH if is_gpu else CPU_BATCH)
        rate = min(RATE * math.sqrt(batch / RATE_BATCH), MOST_RATE)
        kinds = tuple(kind for kind, pool in lines.validation.items() if len(pool))
        training = TimedTraining(rate, kinds=kinds)
        training.reader, training.clock = reader, clock
        batch = _train(training, keeper, batch, device)
    best = min(keeper.validations, key=lambda one: one.cer)
    return Trained(keeper.weights, best.cer, keeper.validations, batch, keeper.notes)


def _gather(lines: LinesAhead, settings: TimedSettings, clock: Clock) -> None:
    """Waits for the validation lines, and for the first lines to train on."""
    lines.wait(lambda: lines.validation_pages_left == 0 and len(lines.train) > 0, math.inf)
    lines.wait(
        lambda: len(lines.train) >= settings.first_lines, clock.began + GATHERING * clock.total
    )
    lines.waited = clock.gathered = clock.seconds


def _train(training: TimedTraining, keeper: Keeper, batch: int, device: str) -> int:
    """Trains until the time is over, in several runs if need be; returns the last batch's size."""
    clock, is_done = training.clock, False
    keeper.batch = batch
    trainer = _timed_trainer(training, keeper, device)
    with interruptible(trainer):
        trainer.validate(training, _validation(training, keeper, batch), verbose=False)
    while not is_done:
        keeper.batch = batch
        trainer = _timed_trainer(training, keeper, device)  # with the time that is left now
        with interruptible(trainer):
            try:
                batches = _batches(keeper.lines, clock, batch * TYPICAL_WIDTH)
                trainer.fit(training, batches, _validation(training, keeper, batch))
                is_done = True  # Lightning has validated once more at the end of the time
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or batch == 1:
                    raise
                batch //= 2
                keeper.notes.append(f"out of memory: batches of {batch} lines from here on")
                keeper.say(keeper.notes[-1])
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        if device == "cuda":
            torch.cuda.empty_cache()
    return batch


def _timed_trainer(training: TimedTraining, keeper: Keeper, device: str) -> pl.Trainer:
    every = EMA_EVERY[device]
    # Lightning makes the average on the model's device, which is not the GPU yet.
    average = EMAWeightAveraging(device=device, decay=EMA**every, update_every_n_steps=every)
    return make_trainer(
        keeper.out,
        device,
        max_epochs=-1,
        max_time=timedelta(seconds=training.clock.left),
        val_check_interval=timedelta(seconds=keeper.settings.validate_every),
        callbacks=[keeper, average],
        logger=False,
        enable_checkpointing=False,  # `keeper` does it
        enable_progress_bar=False,
    )


def _batches(lines: LinesAhead, clock: Clock, pixels: int) -> Iterator[StripBatch]:
    """Batches to train on, without end."""

    def uses() -> float:
        return USES[0] + (USES[1] - USES[0]) * clock.share

    for _ in itertools.count():
        yield lines.batch(pixels, uses, until=time.monotonic() + clock.left)


def _validation(training: TimedTraining, keeper: Keeper, batch: int) -> list[DataLoader]:
    """The validation lines of each kind."""
    pixels = min(batch, 128) * TYPICAL_WIDTH
    pools = [keeper.lines.validation[kind] for kind in training.hparams.kinds]
    return [DataLoader(pool.every(pixels), batch_size=None) for pool in pools]


def as_floats(strips: Tensor) -> Tensor:
    """Strips (N, 48, W) uint8 as the reader takes them: (N, 1, 48, W) in [-1, 1]."""
    return strips[:, None].float() / 127.5 - 1


def varied(strips: Tensor, used: Tensor) -> Tensor:
    """The strips (N, 1, 48, W), those that were used before a little higher, lower, paler and
    noisier: the same line is not seen twice in the same way."""
    count = len(strips)
    draw = torch.rand(3, count, 1, 1, 1, device=strips.device)
    change = used.view(-1, 1, 1, 1).to(strips.dtype)
    contrast = 1 - 0.35 * draw[0] * change
    noise = torch.randn_like(strips) * (0.06 * draw[1] * change)
    # At most 2 px up or down.
    theta = torch.zeros(count, 2, 3, device=strips.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 1, 2] = ((draw[2] - 0.5) * change).flatten() * (8 / strips.size(2))
    grid = F.affine_grid(theta, list(strips.shape), align_corners=False)
    moved = F.grid_sample(strips, grid, padding_mode="border", align_corners=False)
    return (1 - (1 - moved) * contrast + noise).clamp(-1, 1)
