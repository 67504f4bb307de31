"""The folder of a profile: written beside its place and moved there once it is whole, so that a run
that is broken off leaves the last profile as it was."""

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from text_recognizer.errors import RecognizerError

PROFILE_NAME = "profile.json"
_OWN_FILES = re.compile(
    r"(profile|launches)\.json|README\.md|(latency_and_throughput|utilization|timeline_\d+)\.png"
)
_OWN_FOLDERS = re.compile(r"batch_size_\d+")
_TRACES = re.compile(r".+\.pt\.trace\.json(\.gz)?")


class ProfileError(RecognizerError):
    """What was asked of a profile can't be done, and the message says what to change."""


def batch_folder(folder: Path, batch_size: int) -> Path:
    """Where the trace of a batch size lies; for torch-tb-profiler, each such folder is a run."""
    return folder / f"batch_size_{batch_size:02}"


def trace_paths(folder: Path) -> list[Path]:
    """All traces below a folder."""
    return sorted(path for path in folder.rglob("*") if _TRACES.fullmatch(path.name))


def check_replaceable(out: Path) -> None:
    """Raises ProfileError where `out` is a file, or a folder that holds more than a profile."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ProfileError(f"{out} is a file; name a folder for the profile.")
    if foreign := next((path for path in out.iterdir() if not _is_own(path)), None):
        raise ProfileError(
            f"{out} holds {foreign.name}, which is no part of a profile and would be lost; name "
            "another folder."
        )


@contextlib.contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Gives a new folder beside `out`; it takes the place of `out`, whole, when the block ends.

    Where the block raises, Ctrl-C included, it is removed, and `out` is as before.

    Raises:
        ProfileError: see `check_replaceable`; or the file system refuses.
    """
    out = out.resolve()  # of a link, the folder that it leads to is replaced
    check_replaceable(out)
    mark = secrets.token_hex(4)
    partial, old = (out.with_name(f".{out.name}.{kind}-{mark}") for kind in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        try:
            if out.exists():
                out.rename(old)
            partial.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise ProfileError(
            f"{out} cannot be written ({error.strerror or error}); name another folder."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _is_own(path: Path) -> bool:
    if path.is_symlink():
        return False
    if not path.is_dir():
        return _OWN_FILES.fullmatch(path.name) is not None
    return _OWN_FOLDERS.fullmatch(path.name) is not None and all(
        _TRACES.fullmatch(inner.name) and inner.is_file() for inner in path.iterdir()
    )
