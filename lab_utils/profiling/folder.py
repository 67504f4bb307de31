"""The folder of a profile: written beside its place and moved there once it is whole, so that a run
that is broken off leaves the last profile as it was."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from text_recognizer.errors import RecognizerError

PROFILE_NAME = "profile.json"
_OWN = re.compile(
    r"(profile|launches)\.json|README\.md|(latency_and_throughput|utilization|timeline_\d+)\.png"
    r"|batch_size_\d+(/.+\.pt\.trace\.json(\.gz)?)?"
)
"""Paths within the folder of a profile."""


class ProfileError(RecognizerError):
    """What was asked of a profile can't be done, and the message says what to change."""


def batch_folder(folder: Path, batch_size: int) -> Path:
    """Where the trace of a batch size lies; for torch-tb-profiler, each such folder is a run."""
    return folder / f"batch_size_{batch_size:02}"


def trace_of(folder: Path, batch_size: int) -> Path | None:
    """The trace of a batch size in a profile's folder; None if there is none."""
    return next(iter(sorted(batch_folder(folder, batch_size).glob("*.pt.trace.json*"))), None)


def check_replaceable(out: Path) -> None:
    """Raises ProfileError where `out` is a file, or a folder that holds more than a profile."""
    if out.exists() and not out.is_dir():
        raise ProfileError(f"{out} is a file; name a folder for the profile.")
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not _OWN.fullmatch(name):
            raise ProfileError(
                f"{out} holds {name}, which isn't part of a profile and would be lost; name "
                "another folder."
            )


@contextlib.contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Gives a new folder beside `out`; it takes the place of `out`, whole, when the block ends.

    Where the block raises, Ctrl-C included, it is removed, and `out` is as before.

    Raises ProfileError, see `check_replaceable`.
    """
    out = out.resolve()  # of a link, the folder that it leads to is replaced
    check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        yield new
        try:
            if out.exists():
                out.rename(old)
            new.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise
