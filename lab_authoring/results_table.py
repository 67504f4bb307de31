"""The table of results as a CSV file, whole at any time: somebody may open it while grading goes
on, or stop it."""

import csv
from collections.abc import Iterable
from pathlib import Path

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

FORMULA = ("=", "+", "-", "@", "\t", "\r")


class TableError(RecognizerError):
    """The table cannot be written there."""


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Replaces the file at once. Raises TableError if it cannot be written."""
    try:
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([_as_text(value) for value in row] for row in (columns, *rows))
    except OSError as error:
        raise TableError(
            f"{path} cannot be written ({error.strerror or error}): give --out another name."
        ) from None


def _as_text(value: object) -> str:
    """A cell that a spreadsheet takes as text: names of files and messages come from students."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
