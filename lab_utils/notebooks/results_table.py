"""The table of results as a CSV file, whole at any time: somebody may open it while grading goes
on, or stop it."""

import csv
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from text_recognizer.errors import RecognizerError

FORMULA = ("=", "+", "-", "@", "\t", "\r")


class TableError(RecognizerError):
    """The table cannot be written there."""


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Replaces the file at once. Raises TableError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([_as_text(value) for value in row] for row in (columns, *rows))
            os.chmod(part, 0o666 & ~_umask())
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise TableError(
            f"{path} cannot be written ({error.strerror or error}): give --out another name."
        ) from None


def _as_text(value: object) -> str:
    """A cell that a spreadsheet takes as text: names of files and messages come from students."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _umask() -> int:
    """Of this process; it can only be read by setting it."""
    current = os.umask(0o077)
    os.umask(current)
    return current
