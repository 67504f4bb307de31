"""What strangers wrote, on one line and in CSV files: a spreadsheet shows every cell as the text
that it is.

A spreadsheet takes a cell for a formula if it starts with = + - @ or a tab, and it may split a line
at another separator, or read a carriage return as the end of a row. So carriage returns become
newlines, every cell is quoted, and an apostrophe goes before such a character at the start of a
cell, after each line break and after each separator.
"""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_START = r"(?:^|(?<=[\n,;\t]))"
_RISKY = r"(?=[=+\-@\t'])"


def one_line(said: object, most: int = 300) -> str:
    """Text without colours, line breaks and control characters, cut to `most` characters."""
    text = _COLOUR.sub("", str(said))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula, whatever its separator."""
    text = "" if value is None else str(value)
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(_START + _RISKY, "'", text)


def plain_cell(cell: str | None) -> str:
    """The text that `safe_cell` made a cell of; "" for a cell that a short row lacks."""
    return re.sub(f"{_START}'{_RISKY}", "", cell or "")


def csv_row(values: Iterable[object]) -> str:
    """One row with its line break."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([safe_cell(value) for value in values])
    return stream.getvalue()


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Replaces the file at once. Raises RecognizerError if it cannot be written."""
    try:
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(csv_row(row) for row in (columns, *rows))
    except OSError as error:
        raise RecognizerError(
            f"{path} cannot be written ({error.strerror or error}): give --out another name."
        ) from None


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column, as they were before `safe_cell`. Raises OSError."""
    with path.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file)
        return [{name: plain_cell(row[name]) for name in found.fieldnames or ()} for row in found]
