"""The figures of batch sizes on one device, as a file: plots, tables and notebooks start from it,
also if the device that they were measured on is not at hand."""

import contextlib
import os
import statistics
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lab_utils.profiling.trace_figures import Amount, OperatorTime
from text_recognizer.errors import RecognizerError
from text_recognizer.files import folder_beside
from text_recognizer.places import PROJECT

TOO_LARGE = "does not fit the memory"
PROFILE_NAME = "profile.json"
_OWN = (PROFILE_NAME, "launches.json", "timeline_*.png", "batch_size_*/*.pt.trace.json*")
"""What goes with an old profile; other files in its folder stay."""

RECORDINGS = PROJECT / "data" / "traces"
"""Profiles of devices that few have at hand, one folder for each kind."""


class ProfileError(RecognizerError):
    """What was asked of a profile can't be done, and the message says what to change."""


@dataclass(frozen=True)
class BatchFigures:
    """What batches of one size cost. What was not measured, or the device does not have, is None.

    `seconds` and what follows from it come from runs without the profiler, all else from one more
    run under it, which it makes slower.
    """

    batch_size: Annotated[int, Field(gt=0)]
    seconds: list[Annotated[FiniteFloat, Field(gt=0)]] = field(default_factory=list)
    """s of each batch that was timed: from the pages on the device to the text's tokens. Without
    any, the size does not fit the memory."""
    cpu_utilization: Amount | None = None
    """The time in which PyTorch's threads were at work, out of what they had, in [0, 1]: a median
    over the timed batches. A thread that waits in a busy loop for others counts as at work."""
    traced_seconds: Amount | None = None
    """s of the batch in the trace: the window of the figures below."""
    device_seconds: Amount | None = None
    """s in which the GPU worked."""
    gpu_utilization: Amount | None = None
    sm_efficiency: Amount | None = None
    achieved_occupancy: Amount | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    """The most that the batch held at once, besides the weights and the pages themselves."""
    operators: list[OperatorTime] = field(default_factory=list)
    """The operators that took most of the processor's time, the longest first."""
    parts: dict[str, Amount] = field(default_factory=dict)
    """Share of the window in each part of the model; "reader" holds those within it."""
    trace: Annotated[Path | None, Field(exclude=True)] = None
    """The trace, if it lies in the profile's folder; profiles travel without."""

    @property
    def p50(self) -> float | None:
        """The median time of a batch in s."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def p95(self) -> float | None:
        """The time in s that 95 of 100 batches do not exceed, interpolated. With fewer than 20
        repeats it only indicates the spread."""
        return float(np.quantile(self.seconds, 0.95)) if self.seconds else None

    @property
    def pages_per_second(self) -> float | None:
        """What the device does: pages out of the median time of their batch."""
        return self.batch_size / self.p50 if self.seconds else None

    @property
    def pages_per_user_second(self) -> float | None:
        """What the users get: pages out of the seconds that all users of the batch wait for it.

        One user a page, each waits for the whole batch: size / (size * p50).
        """
        return 1 / self.p50 if self.seconds else None


@dataclass(frozen=True)
class Profile:
    """Batch sizes measured on one device in one go."""

    device: dict[str, Any]
    """See `describe_device`."""
    versions: dict[str, str | None]
    date: str
    """When it ended: ISO 8601, UTC."""
    command: str
    """The command that took it."""
    commit: str | None
    """See `project_commit`."""
    pages: str
    """What was read."""
    batches: Annotated[list[BatchFigures], Field(min_length=1)]
    """By batch size, the smallest first."""
    format: Literal["lab-profile/1"] = "lab-profile/1"

    @property
    def measured(self) -> list[BatchFigures]:
        """The batch sizes that fit the memory."""
        return [batch for batch in self.batches if batch.seconds]

    @property
    def best(self) -> BatchFigures | None:
        """The batch size with the most pages a second; None if none fits the memory."""
        return max(self.measured, key=lambda batch: batch.pages_per_second, default=None)

    @property
    def about(self) -> str:
        """Device, driver, versions, date and commit, as one line."""
        facts = {
            "": self.device.get("name") or self.device.get("kind"),
            "threads ": self.device.get("threads"),
            "driver ": self.device.get("driver"),
            "torch ": self.versions.get("torch"),
            "on ": self.date[:10],
            "commit ": self.commit and self.commit[:10],
        }
        return ", ".join(f"{name}{value}" for name, value in facts.items() if value)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the figures as JSON; the traces lie in folders beside it."""
        text = TypeAdapter(Profile).dump_json(self, indent=1)
        Path(path).write_bytes(text + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Profile":
        """Reads a profile with its traces: its file, or the folder that holds it.

        Raises:
            ProfileError: there is none, or the file is damaged or something else.
        """
        path = Path(path)
        path = path / PROFILE_NAME if path.is_dir() else path
        try:
            found = TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise ProfileError(
                f"{path} is missing, damaged or not a profile; take one with `lab profile`."
            ) from None
        batches = [
            replace(one, trace=trace_of(path.parent, one.batch_size)) for one in found.batches
        ]
        return replace(found, batches=sorted(batches, key=lambda one: one.batch_size))


def recorded_profile(kind: str = "cuda") -> Profile | None:
    """The recording of a device that comes with the lab, by its kind; None if there is none.

    Raises ProfileError if it is damaged.
    """
    path = RECORDINGS / kind / PROFILE_NAME
    return Profile.load(path) if path.is_file() else None


def batch_folder(folder: Path, batch_size: int) -> Path:
    """Where the trace of a batch size lies; for torch-tb-profiler, each such folder is a run."""
    return folder / f"batch_size_{batch_size:02}"


def trace_of(folder: Path, batch_size: int) -> Path | None:
    """The trace of a batch size in a profile's folder; None if there is none."""
    return next(batch_folder(folder, batch_size).glob("*.pt.trace.json*"), None)


@contextlib.contextmanager
def replaced_profile(out: Path) -> Iterator[Path]:
    """Gives a new folder; what is in it takes the place of the profile in `out` at the end.

    Where the block or the moving raises, Ctrl-C included, the profile in `out` is as before. What
    else is in `out` stays.

    Raises ProfileError where `out` is a file, or one of its folders for traces is a link.
    """
    out = out.resolve()
    if out.exists() and not out.is_dir():
        raise ProfileError(f"{out} is a file; name a folder for the profile.")
    if links := [path for path in out.glob("batch_size_*") if path.is_symlink()]:
        # What it leads to isn't ours to replace.
        raise ProfileError(f"{links[0]} is a link; remove it, or name another folder.")
    with folder_beside(out) as scratch:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        yield new
        moves = []
        if (out / PROFILE_NAME).is_file():
            own = [path for pattern in _OWN for path in out.glob(pattern) if path.is_file()]
            moves += [(path, out, old) for path in own]
        # The profile comes last: with it, the folder is whole.
        files = [path for path in new.rglob("*") if path.is_file()]
        files.sort(key=lambda path: path.name == PROFILE_NAME)
        _move([*moves, *((path, new, out) for path in files)])


def _move(moves: list[tuple[Path, Path, Path]]) -> None:
    """Moves each path from one folder to another, below which it has the same name; all or none."""
    pairs = [(path, target / path.relative_to(source)) for path, source, target in moves]
    try:
        for path, place in pairs:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    except BaseException:
        for path, place in reversed(pairs):
            if not os.path.lexists(path):  # it has been moved
                place.replace(path)
        raise
