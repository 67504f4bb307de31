"""Trains the line reader for some minutes: on a GPU that is at hand for so long and no longer.

A plain loop instead of Lightning's, since the clock rules everything here: the learning rate
follows the time, validations come every so many seconds, and lines come from a pool that processes
fill. What was best is always on the disk, whole.
"""

import copy
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from text_recognizer.errors import RecognizerError, is_out_of_memory
from text_recognizer.files import replacing
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.models.line_reader import LineReader
from text_recognizer.models.strips import STRIDE
from text_recognizer.models.widening import widened
from text_recognizer.pages.generator import TRAINING_MIX
from text_recognizer.threads import usable_processors
from text_recognizer.train.makers import TRAIN, Makers
from text_recognizer.train.reader import greedy_text
from text_recognizer.train.strip_pool import PooledBatch, StripPool
from text_recognizer.vocabulary import BLANK, decode
from text_recognizer.weights import load_line_reader, packaged_weights, save_weights

Say = Callable[[str], None]

TYPICAL_WIDTH = 704
"""px of a strip: a batch of n lines has n times so many px."""
BATCHES = (64, 128, 256, 512, 1024)
"""Lines in a batch that are tried on a GPU; on a processor a batch has CPU_BATCH."""
CPU_BATCH = 8
ENOUGH = 0.9
"""Of the best speed: the smallest batch that reaches it is taken, for it makes the most steps."""
RATE, RATE_BATCH, MOST_RATE = 1.5e-4, 16, 3e-4
"""The peak rate that trained the packaged weights and its batch; with AdamW, the rate grows with
the square root of the batch. At 6e-4 and with few lines, a first run on a GPU lost in its first
minute what it did not win back in seven."""
WARM_UP = 0.1
"""Of the time."""
GATHERING = 0.1
"""Of the time, at most, in which the first lines are made and nothing is trained."""
EMA = 0.998
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
        learning_rate: AdamW's peak; None: by the size of the batch.
        validate_every: s.
        mix: kind of page -> share.
        batch: lines of a typical width in a batch; None: as large as pays.
        workers: processes that make lines; None: one for each processor but one.
        validation_pages: of each kind.
        first_lines: lines that are there before the first step, if GATHERING is enough for them.
    """

    minutes: float
    width: int = 1
    learning_rate: float | None = None
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
    loss: float
    lines_made: int
    lines_trained: int
    waited_seconds: float
    """s in which there were too few new lines to train on."""
    training_seconds: float
    """s since the first step, without validations."""

    @property
    def made_per_second(self) -> float:
        return self.lines_made / max(self.seconds, 1e-9)

    @property
    def trained_per_second(self) -> float:
        return self.lines_trained / max(self.training_seconds, 1e-9)


@dataclass(frozen=True)
class Trained:
    """The best weights in half precision, and every validation; the first is of the start."""

    weights: Path
    score: float
    validations: list[Validation]
    batch: int
    notes: list[str]


def train_for(
    settings: TimedSettings,
    out: Path,
    start: Path | None = None,
    device: str | torch.device = "cuda",
    say: Say = print,
) -> Trained:
    """Trains for `settings.minutes` and keeps the weights of the best validation.

    Args:
        out: folder for `line_reader.safetensors` and `training.json`; both are always whole.
        start: safetensors file of a reader; None for the packaged one.

    Raises KeyboardInterrupt at Ctrl-C, with the best weights so far on the disk; RecognizerError
    where `start` does not fit, `out` can't be written, or lines can't be made.
    """
    began = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecognizerError(
            f"{out} can't be written ({error.strerror}); name another folder."
        ) from None
    reader = load_line_reader(start or packaged_weights() / "line_reader.safetensors")
    if reader.width == 1 and settings.width > 1:
        reader = widened(reader, settings.width, settings.seed)
    workers = settings.workers or max(1, usable_processors() - 1)
    makers = Makers(settings.mix, workers, settings.validation_pages, settings.seed)
    # The processes are forked before the GPU is touched, which a fork can't share.
    with makers:
        return _Training(settings, out, torch.device(device), say, makers, began).run(reader)


class _Training:
    """One training: its clock, its pool of lines, its weights."""

    def __init__(
        self,
        settings: TimedSettings,
        out: Path,
        device: torch.device,
        say: Say,
        makers: Makers,
        began: float,
    ) -> None:
        self.settings, self.out, self.device, self.say = settings, out, device, say
        self.makers, self.began = makers, began
        self.is_cuda = device.type == "cuda"
        most = 400_000 if self.is_cuda else 20_000
        self.pool = StripPool(most, settings.seed, pin=self.is_cuda)
        self.kept = {kind: StripPool(most, pin=self.is_cuda) for kind in makers.kinds}
        self.lines = settings.batch or (BATCHES[2] if self.is_cuda else CPU_BATCH)
        self.steps, self.waited, self.validating = 0, 0.0, 0.0
        self.first_step: float | None = None
        self.losses: list[Tensor] = []
        self.validations: list[Validation] = []
        self.notes: list[str] = []
        self.scale = 1.0
        """Of the learning rate: halved when the weights were no longer finite."""

    def run(self, reader: LineReader) -> Trained:
        self._gather()
        torch.manual_seed(self.settings.seed)
        torch.set_float32_matmul_precision("high")
        self.reader = reader.to(self.device).train()
        self.average = copy.deepcopy(self.reader).eval()
        self.optimizer = torch.optim.AdamW(
            self.reader.parameters(), lr=0.0, weight_decay=0.01, fused=self.is_cuda
        )
        self._validate()  # the start: what is never better than it is not kept
        if self.is_cuda and self.settings.batch is None:
            self._choose_batch()
        next_validation = time.monotonic() + self.settings.validate_every
        # On a busy machine, the time may be over when the first lines are there.
        while self._left() > RESERVE or not self.steps:
            self._fill()
            self._train_step()
            if time.monotonic() > next_validation:
                self._validate()
                next_validation = time.monotonic() + self.settings.validate_every
        self._validate()
        best = min(self.validations, key=lambda one: one.cer)
        return Trained(self._weights, best.cer, self.validations, self.lines, self.notes)

    @property
    def _weights(self) -> Path:
        return self.out / "line_reader.safetensors"

    def _left(self) -> float:
        """s until the end."""
        return self.began + 60 * self.settings.minutes - time.monotonic()

    def _gather(self) -> None:
        """Waits for the validation lines and for the first lines to train on."""
        few = min(self.settings.first_lines, 100 * self.lines)
        while self.makers.validating or len(self.pool) < few:
            self._put(seconds=1.0)
            is_time = self._share() > GATHERING
            if is_time and not self.makers.validating and len(self.pool):
                break
        self.waited = time.monotonic() - self.began

    def _share(self) -> float:
        """The share of the time that is over, in [0, 1]."""
        return min((time.monotonic() - self.began) / (60 * self.settings.minutes), 1.0)

    def _fill(self) -> None:
        """Takes in what was made; waits if the lines have been used too often for this moment."""
        self._put()
        start = time.monotonic()
        first, last = USES
        while self._left() > RESERVE:
            most = first + (last - first) * self._share()
            if self.pool.trained <= most * self.pool.made:
                break
            self._put(seconds=0.2)
        self.waited += time.monotonic() - start

    def _put(self, seconds: float = 0.0) -> None:
        for name, made in self.makers.fetch(seconds):
            (self.pool if name == TRAIN else self.kept[name]).add(made)

    def _choose_batch(self) -> None:
        """Times batches of rising size, each on lines that it has seen, and takes one that pays."""
        speeds: dict[int, float] = {}
        for lines in BATCHES:
            if len(self.pool) < 2 * lines:
                break
            self.lines = lines
            batch = self.pool.batch(lines * TYPICAL_WIDTH)
            self._train_step(batch)  # plans the convolutions for this shape
            if self.lines != lines:  # it did not fit the memory, and was halved
                break
            torch.cuda.synchronize(self.device)
            start = time.monotonic()
            for _ in range(3):
                self._train_step(batch)
            torch.cuda.synchronize(self.device)
            typical = batch.strips.size(0) * batch.strips.size(2) / TYPICAL_WIDTH
            speeds[lines] = 3 * typical / (time.monotonic() - start)
            if speeds[lines] < ENOUGH * max(speeds.values()):
                break
        if speeds:
            best = max(speeds.values())
            self.lines = min(n for n, speed in speeds.items() if speed >= ENOUGH * best)
        found = ", ".join(f"{n}: {speed:,.0f}" for n, speed in speeds.items())
        self._note(f"lines/s by lines in a batch: {found}; {self.lines} are taken")

    def _train_step(self, batch: PooledBatch | None = None) -> None:
        """One step; a batch that does not fit the memory is halved, and training goes on."""
        if self.first_step is None:
            self.first_step = time.monotonic()
        try:
            self._learn(batch or self.pool.batch(self.lines * TYPICAL_WIDTH))
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or self.lines == 1:
                raise
        # Not within the handler: there, the error's traceback keeps the tensors alive.
        self.optimizer.zero_grad(set_to_none=True)
        if self.is_cuda:
            torch.cuda.empty_cache()
        self.lines //= 2
        self._note(f"out of memory: batches of {self.lines} lines from here on")

    def _learn(self, batch: PooledBatch) -> None:
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        strips = batch.strips.to(self.device, non_blocking=True)
        used = batch.used.to(self.device, non_blocking=True)
        targets = batch.targets.to(self.device, non_blocking=True)
        loss = self._loss(varied(as_floats(strips), used), batch, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.reader.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self.losses.append(loss.detach())  # not read here: that would wait for the GPU
        keep = min(EMA, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.reader.parameters(), strict=True)
            for average, current in pairs:
                average.lerp_(current, 1 - keep)

    def _loss(self, strips: Tensor, batch: PooledBatch, targets: Tensor) -> Tensor:
        widths = batch.widths.to(self.device, non_blocking=True)
        with self._autocast():
            logits = self.reader(strips, widths)
        log_probs = logits.float().log_softmax(2).transpose(0, 1)
        # The lengths stay on the processor: CTC needs them there, and would wait for the GPU.
        return F.ctc_loss(
            log_probs,
            targets,
            batch.widths // STRIDE,
            batch.lengths,
            blank=BLANK,
            zero_infinity=True,
        )

    def _autocast(self) -> torch.autocast:
        """bfloat16 on a GPU; many processors have no instructions for it and take much longer."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_cuda)

    def _rate(self) -> float:
        """The learning rate: a warm-up, then half a cosine over the time that is left."""
        batch = min(RATE * math.sqrt(self.lines / RATE_BATCH), MOST_RATE)
        peak = self.scale * (self.settings.learning_rate or batch)
        start = (self.first_step or self.began) - self.began
        total = max(60 * self.settings.minutes - RESERVE - start, 1e-3)
        done = min(max(time.monotonic() - self.began - start, 0.0) / total, 1.0)
        if done < WARM_UP:
            return peak * max(done / WARM_UP, 0.02)
        return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))))

    def _validate(self) -> None:
        """Reads the validation lines, keeps the weights if they are the best, and says how far."""
        start = time.monotonic()
        loss = float(torch.stack(self.losses).mean()) if self.losses else math.nan
        by_kind = {kind: self._cer(pool) for kind, pool in self.kept.items() if len(pool)}
        cer = sum(by_kind.values()) / max(len(by_kind), 1)
        if self.steps and not math.isfinite(loss):
            self._go_back()
        elif cer < min((one.cer for one in self.validations), default=math.inf):
            state = {
                name: value.detach().cpu() for name, value in self.average.state_dict().items()
            }
            save_weights(state, self._weights)
        self.losses = []
        self.validating += time.monotonic() - start
        began = self.first_step or time.monotonic()
        done = Validation(
            time.monotonic() - self.began,
            cer,
            by_kind,
            self.steps,
            self.lines,
            self._rate(),
            loss if math.isfinite(loss) else -1.0,
            self.pool.made,
            self.pool.trained,
            self.waited,
            max(time.monotonic() - began - self.validating, 0.0),
        )
        if self.first_step is None:
            self.validating = 0.0  # the clock of training starts later
        self.validations.append(done)
        self._write()
        self.say(_as_line(done))

    def _cer(self, pool: StripPool) -> float:
        edits = []
        with torch.inference_mode(), self._autocast():
            for batch in pool.every(min(self.lines, 128) * TYPICAL_WIDTH):
                strips = as_floats(batch.strips.to(self.device))
                logits = self.average(strips, batch.widths.to(self.device)).float().cpu()
                for one, width, ids, length in zip(
                    logits,
                    batch.widths.tolist(),
                    batch.targets.tolist(),
                    batch.lengths.tolist(),
                    strict=True,
                ):
                    edits.append(character_edits(greedy_text(one, width), decode(ids[:length])))
        return Edits.total(edits).rate

    def _go_back(self) -> None:
        """To the best weights, with half the rate: those at hand are no longer finite."""
        state = load_line_reader(self._weights).to(self.device).state_dict()
        self.reader.load_state_dict(state)
        self.average.load_state_dict(state)
        self.optimizer.state.clear()
        self.scale /= 2
        self._note(f"diverged at step {self.steps}: back to the best weights, half the rate")

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.say(text)

    def _write(self) -> None:
        history = [
            {
                **asdict(one),
                "made_per_second": one.made_per_second,
                "trained_per_second": one.trained_per_second,
            }
            for one in self.validations
        ]
        document = {
            "settings": {**asdict(self.settings), "mix": dict(self.settings.mix)},
            "device": str(self.device),
            "notes": self.notes,
            "validations": history,
        }
        with replacing(self.out / "training.json") as partial:
            partial.write_text(json.dumps(document, indent=1) + os.linesep, encoding="utf-8")


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


def _as_line(done: Validation) -> str:
    kinds = ", ".join(f"{kind} {cer:.4f}" for kind, cer in done.by_kind.items())
    uses = done.lines_trained / max(done.lines_made, 1)
    return (
        f"{done.seconds:.0f} s, step {done.steps}: cer {done.cer:.4f} ({kinds}); "
        f"{done.made_per_second:,.0f} lines/s made, {done.trained_per_second:,.0f} trained, "
        f"each {uses:.1f} times; {done.waited_seconds:.1f} s waited for lines"
    )
