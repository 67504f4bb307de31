"""The figures of batch sizes on one device, as a file: plots, tables and notebooks start from it,
also where the device that they were measured on is not at hand."""

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lab_utils.profiling.folder import PROFILE_NAME, ProfileError
from lab_utils.profiling.trace_operators import OperatorTime
from text_recognizer.places import PROJECT

PROFILE_FORMAT = "lab-profile/1"
MAX_PROFILE_BYTES = 5_000_000
"""Bytes of a profile.json; one of 20 batch sizes has about 60,000."""

MEASURED = "measured"
TOO_LARGE = "does not fit the memory"

RECORDINGS = PROJECT / "data" / "traces"
"""Profiles of devices that few have at hand, one folder for each kind."""


@dataclass(frozen=True)
class BatchFigures:
    """What batches of one size cost. What was not measured, or the device does not have, is None.

    `seconds` and what follows from it come from runs without the profiler, all else from one more
    run under it, which it makes slower.
    """

    batch_size: int
    status: str = MEASURED
    """MEASURED or TOO_LARGE."""
    seconds: list[float] = field(default_factory=list)
    """s of each batch that was timed: from the pages on the device to the text's tokens."""
    cpu_utilization: float | None = None
    """The time in which PyTorch's threads were at work, out of what they had, in [0, 1]: a median
    over the timed batches. A thread that waits in a busy loop for others counts as at work."""
    traced_seconds: float | None = None
    """s of the batch in the trace: the window that the figures below speak of."""
    cpu_seconds: float | None = None
    """s in which the calling thread worked in operators; see `cpu_seconds` of a trace."""
    device_seconds: float | None = None
    """s in which the GPU worked."""
    gpu_utilization: float | None = None
    sm_efficiency: float | None = None
    achieved_occupancy: float | None = None
    memory_bytes: int | None = None
    """The most that the batch held at once, besides the weights and the pages themselves."""
    operators: list[OperatorTime] = field(default_factory=list)
    """The operators that took most of the processor's time, the longest first."""
    waiting: dict[str, float] = field(default_factory=dict)
    """s that the GPU was idle while this operator ran on the processor, the longest first."""
    parts: dict[str, float] = field(default_factory=dict)
    """Share of the window in each part of the model; "reader" holds those within it."""
    trace: Path | None = None
    """The trace, where it was kept."""

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


@dataclass(frozen=True)
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
    batches: list[BatchFigures]
    """By batch size, the smallest first."""

    @property
    def measured(self) -> list[BatchFigures]:
        """The batch sizes that fit the memory."""
        return [batch for batch in self.batches if batch.status == MEASURED]

    @property
    def best(self) -> BatchFigures | None:
        """The batch size with the most pages a second; None where none fits the memory."""
        return max(self.measured, key=lambda batch: batch.pages_per_second, default=None)

    @property
    def about(self) -> str:
        """Device, driver, versions, date and commit, as one line."""
        device, versions = self.device, self.versions
        told = [str(device.get("name") or device.get("kind"))]
        if threads := device.get("threads"):
            told.append(f"{threads} thread" + "s" * (threads != 1))
        if device.get("driver"):
            told.append(f"driver {device['driver']}")
        if versions.get("torch"):
            told.append(f"torch {versions['torch']}")
        told.append(self.date[:10])
        if self.commit:
            told.append(f"commit {self.commit[:10]}")
        return ", ".join(told)

    def keep_traces(self, sizes: Iterable[int]) -> "Profile":
        """Deletes the traces of all other batch sizes; returns the profile that knows of it."""
        sizes = set(sizes)
        batches = []
        for batch in self.batches:
            if batch.trace and batch.batch_size not in sizes:
                batch.trace.unlink(missing_ok=True)
                if not any(batch.trace.parent.iterdir()):
                    batch.trace.parent.rmdir()
                batch = dataclasses.replace(batch, trace=None)
            batches.append(batch)
        return dataclasses.replace(self, batches=batches)

    def save(self, path: str | os.PathLike) -> None:
        """Writes it as JSON; a trace is named by its place relative to the file's folder."""
        path = Path(path)
        document = {"format": PROFILE_FORMAT, **dataclasses.asdict(self)}
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
        document = _read(path)
        if not isinstance(document, dict) or document.get("format") != PROFILE_FORMAT:
            raise ProfileError(
                f"{path} is no profile of this version; take one with `lab profile`."
            )
        try:
            return _profile(document, path.parent)
        except _DamagedError as error:
            raise ProfileError(
                f"{path} is a damaged profile ({error}); take one with `lab profile`."
            ) from None


def recorded_profile(kind: str = "cuda") -> Profile | None:
    """The recording of a device that comes with the lab, by its kind; None where there is none.

    Raises ProfileError if it is damaged.
    """
    path = RECORDINGS / kind / PROFILE_NAME
    return Profile.load(path) if path.is_file() else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all do not exceed, on straight lines between the sorted values,
    of which the first stands for 0 and the last for 1 (Hyndman and Fan 1996, definition 7)."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


class _DamagedError(Exception):
    """What is wrong with a document, as a part of a sentence."""


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except FileNotFoundError:
        raise ProfileError(f"There is no profile at {path}; take one with `lab profile`.") from None
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read ({error.strerror or error}); name another profile."
        ) from None
    try:
        return json.loads(data) if len(data) <= MAX_PROFILE_BYTES else None
    except (ValueError, RecursionError):
        return None


def _profile(document: dict, folder: Path) -> Profile:
    texts = {key: _value(document, key, _is_text, "a text") for key in ("date", "command", "pages")}
    batches = [
        _batch(batch, folder)
        for batch in _value(document, "batches", _are_objects, "a list of objects")
    ]
    sizes = [batch.batch_size for batch in batches]
    if not sizes or sorted(set(sizes)) != sizes:
        raise _DamagedError("its batch sizes do not rise")
    return Profile(
        device=_value(document, "device", _is_object, "an object"),
        versions=_value(document, "versions", _is_object, "an object"),
        commit=_value(document, "commit", _optional(_is_text), "a text"),
        batches=batches,
        **texts,
    )


def _batch(document: dict, folder: Path) -> BatchFigures:
    status = _value(document, "status", {MEASURED, TOO_LARGE}.__contains__, "a known status")
    seconds = _value(document, "seconds", _are_times, "a list of times")
    if bool(seconds) != (status == MEASURED):
        raise _DamagedError('"status" and "seconds" do not fit together')
    numbers = {
        key: _value(document, key, _optional(_is_number), "a number")
        for key in (
            "cpu_utilization",
            "traced_seconds",
            "cpu_seconds",
            "device_seconds",
            "gpu_utilization",
            "sm_efficiency",
            "achieved_occupancy",
        )
    }
    return BatchFigures(
        batch_size=_value(document, "batch_size", _is_count, "a whole number above 0"),
        status=status,
        seconds=seconds,
        memory_bytes=_value(document, "memory_bytes", _optional(_is_whole), "a whole number"),
        operators=[
            _operator(one)
            for one in _value(document, "operators", _are_objects, "a list of objects")
        ],
        waiting=_value(document, "waiting", _are_numbers, "numbers by name"),
        parts=_value(document, "parts", _are_numbers, "numbers by name"),
        trace=_trace(_value(document, "trace", _optional(_is_text), "a text"), folder),
        **numbers,
    )


def _operator(document: dict) -> OperatorTime:
    times = {
        key: _value(document, key, _is_number, "a number")
        for key in ("self_seconds", "total_seconds", "device_seconds")
    }
    return OperatorTime(
        name=_value(document, "name", _is_text, "a text"),
        calls=_value(document, "calls", _is_whole, "a whole number"),
        **times,
    )


def _trace(name: str | None, folder: Path) -> Path | None:
    """The trace, where it is there: a profile may travel without its traces."""
    if name is None:
        return None
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name:
        raise _DamagedError('a "trace" lies outside its folder')
    path = folder / place
    return path if path.is_file() else None


def _value(document: dict, key: str, test: Callable[[Any], bool], what: str) -> Any:
    value = document.get(key)
    try:
        if test(value):
            return value
    except TypeError:  # what can't be looked up in a set
        pass
    raise _DamagedError(f'"{key}" is not {what}')


def _optional(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(one) for one in value.values())


def _are_times(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(one) and one > 0 for one in value)
