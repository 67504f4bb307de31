"""Writing a file whole or not at all, telling whether it is the one that it should be, and what
another program said about a full disk."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's errors where there is no room."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a place beside `path` to write to; what is there at the end takes `path`'s place.

    The place is `path`'s name in a temporary folder beside it, so libraries that look at the suffix
    are content. Nothing is left there if the block raises, and `path` is as it was. Makes the
    folder of `path`. Raises OSError where that can't be written.
    """
    path = Path(path)
    with folder_beside(path) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb") as file:  # on the disk before it has its name
            os.fsync(file.fileno())
        os.replace(partial, path)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path`, for what will take its place; makes `path`'s folder.

    The system's errors that name the temporary folder, or a full disk and no place, name `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:80]}."
    try:
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=prefix, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        parts = Path(str(error.filename or "")).parts
        is_full = error.errno in FULL and not error.filename  # writing doesn't say where
        if is_full or any(part.startswith(prefix) for part in parts):
            error.filename, error.filename2 = str(path), None
        raise


def full_disk(said: str, place: str | os.PathLike) -> OSError | None:
    """The system's error for a program that found no room at `place`, by what it said.

    None if it said nothing of that. npm gives the error's name, pip its sentence.
    """
    for number in FULL:
        if errno.errorcode[number] in said or os.strerror(number) in said:
            return OSError(number, os.strerror(number), str(place))
    return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
