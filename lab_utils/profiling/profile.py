"""The figures of batch sizes on one device, as a file: plots, tables and notebooks start from it,
also if the device that they were measured on is not at hand."""

import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lab_utils.profiling.folder import PROFILE_NAME, ProfileError
from lab_utils.profiling.trace_operators import Amount, OperatorTime
from text_recognizer.places import PROJECT

PROFILE_FORMAT = "lab-profile/1"
MAX_PROFILE_BYTES = 5_000_000
"""Bytes of a profile.json; one of 20 batch sizes has about 60,000."""

MEASURED = "measured"
TOO_LARGE = "does not fit the memory"

RECORDINGS = PROJECT / "data" / "traces"
"""Profiles of devices that few have at hand, one folder for each kind."""

_STRICT = ConfigDict(strict=True)


@dataclass(frozen=True, config=_STRICT)
class BatchFigures:
    """What batches of one size cost. What was not measured, or the device does not have, is None.

    `seconds` and what follows from it come from runs without the profiler, all else from one more
    run under it, which it makes slower.
    """

    batch_size: Annotated[int, Field(gt=0)]
    status: Literal[MEASURED, TOO_LARGE] = MEASURED
    seconds: list[Annotated[FiniteFloat, Field(gt=0)]] = field(default_factory=list)
    """s of each batch that was timed: from the pages on the device to the text's tokens."""
    cpu_utilization: Amount | None = None
    """The time in which PyTorch's threads were at work, out of what they had, in [0, 1]: a median
    over the timed batches. A thread that waits in a busy loop for others counts as at work."""
    traced_seconds: Amount | None = None
    """s of the batch in the trace: the window of the figures below."""
    cpu_seconds: Amount | None = None
    """s in which the calling thread worked in operators; see `cpu_seconds` of a trace."""
    device_seconds: Amount | None = None
    """s in which the GPU worked."""
    gpu_utilization: Amount | None = None
    sm_efficiency: Amount | None = None
    achieved_occupancy: Amount | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    """The most that the batch held at once, besides the weights and the pages themselves."""
    operators: list[OperatorTime] = field(default_factory=list)
    """The operators that took most of the processor's time, the longest first."""
    waiting: dict[str, Amount] = field(default_factory=dict)
    """s that the GPU was idle while this operator ran on the processor, the longest first."""
    parts: dict[str, Amount] = field(default_factory=dict)
    """Share of the window in each part of the model; "reader" holds those within it."""
    trace: Path | None = None
    """The trace, if it was kept."""

    @model_validator(mode="after")
    def _is_measured_or_not(self) -> "BatchFigures":
        if bool(self.seconds) != (self.status == MEASURED):
            raise ValueError('"status" and "seconds" do not fit together')
        return self

    @property
    def p50(self) -> float | None:
        """The median time of a batch in s."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def p95(self) -> float | None:
        """The time in s that 95 of 100 batches do not exceed.

        Interpolated between what was measured (`quantile`). With fewer than 20 repeats it lies
        between the slowest two: an indication of the spread, no promise about the tail.
        """
        return quantile(self.seconds, 0.95) if self.seconds else None

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


@dataclass(frozen=True, config=_STRICT)
class Profile:
    """Batch sizes measured on one device in one go."""

    device: dict[str, Any]
    """See `describe_device`."""
    versions: dict[str, str | None]
    date: str
    """When it ended: ISO 8601, UTC."""
    command: str
    """What took it."""
    commit: str | None
    """See `project_commit`."""
    pages: str
    """What was read."""
    batches: Annotated[list[BatchFigures], Field(min_length=1)]
    """By batch size, the smallest first."""
    format: Literal[PROFILE_FORMAT] = PROFILE_FORMAT

    @model_validator(mode="after")
    def _sizes_rise(self) -> "Profile":
        sizes = [batch.batch_size for batch in self.batches]
        if sorted(set(sizes)) != sizes:
            raise ValueError("its batch sizes do not rise")
        return self

    @property
    def measured(self) -> list[BatchFigures]:
        """The batch sizes that fit the memory."""
        return [batch for batch in self.batches if batch.status == MEASURED]

    @property
    def best(self) -> BatchFigures | None:
        """The batch size with the most pages a second; None if none fits the memory."""
        return max(self.measured, key=lambda batch: batch.pages_per_second, default=None)

    @property
    def about(self) -> str:
        """Device, driver, versions, date and commit, as one line."""
        threads, driver = self.device.get("threads"), self.device.get("driver")
        facts = [
            str(self.device.get("name") or self.device.get("kind")),
            threads and f"{threads} thread" + "s" * (threads != 1),
            driver and f"driver {driver}",
            self.versions.get("torch") and f"torch {self.versions['torch']}",
            self.date[:10],
            self.commit and f"commit {self.commit[:10]}",
        ]
        return ", ".join(fact for fact in facts if fact)

    def keep_traces(self, sizes: Iterable[int]) -> "Profile":
        """Deletes the traces of all other batch sizes; returns the profile without them."""
        sizes = set(sizes)
        batches = []
        for batch in self.batches:
            if batch.trace and batch.batch_size not in sizes:
                batch.trace.unlink(missing_ok=True)
                if not any(batch.trace.parent.iterdir()):
                    batch.trace.parent.rmdir()
                batch = replace(batch, trace=None)
            batches.append(batch)
        return replace(self, batches=batches)

    def save(self, path: str | os.PathLike) -> None:
        """Writes it as JSON; a trace is named by its place relative to the file's folder."""
        path = Path(path)
        document = TypeAdapter(Profile).dump_python(self, mode="json")
        for batch in document["batches"]:
            if batch["trace"] is not None:
                batch["trace"] = Path(os.path.relpath(batch["trace"], path.parent)).as_posix()
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Profile":
        """Reads a profile: its file, or the folder that holds it.

        Raises:
            ProfileError: there is none, or the file is damaged or something else.
        """
        path = Path(path)
        if path.is_dir():
            path = path / PROFILE_NAME
        try:
            found = TypeAdapter(cls).validate_json(_read(path))
            batches = [
                replace(batch, trace=_trace(batch.trace, path.parent)) for batch in found.batches
            ]
        except ValueError as error:
            why = _problem(error) if isinstance(error, ValidationError) else error
            raise ProfileError(
                f"{path} is damaged or no profile of this version ({why}); take one with "
                "`lab profile`."
            ) from None
        return replace(found, batches=batches)


def recorded_profile(kind: str = "cuda") -> Profile | None:
    """The recording of a device that comes with the lab, by its kind; None if there is none.

    Raises ProfileError if it is damaged.
    """
    path = RECORDINGS / kind / PROFILE_NAME
    return Profile.load(path) if path.is_file() else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all do not exceed, on straight lines between the sorted values,
    of which the first is at 0 and the last at 1 (Hyndman and Fan 1996, definition 7)."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def _read(path: Path) -> bytes:
    """The file's bytes, or nothing of one that is too large to be a profile."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except FileNotFoundError:
        raise ProfileError(f"There is no profile at {path}; take one with `lab profile`.") from None
    except OSError as error:
        raise ProfileError(
            f"{path} can't be read ({error.strerror or error}); name another profile."
        ) from None
    return data if len(data) <= MAX_PROFILE_BYTES else b""


def _problem(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def _trace(name: Path | None, folder: Path) -> Path | None:
    """The trace that a profile names; None if it isn't there: profiles travel without."""
    if name is None:
        return None
    if name.is_absolute() or ".." in name.parts:
        raise ValueError('a "trace" lies outside its folder')
    path = folder / name
    return path if path.is_file() else None
