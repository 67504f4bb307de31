"""The cells of a py:percent source, each with the line where it starts, so that each message about
a cell can name its place."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from text_recognizer.errors import RecognizerError

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---
"""

CELL_MARK = re.compile(r"# %%(\s|$)")


class SourceError(RecognizerError):
    """A source breaks the contract: `problems` has one line `FILE:LINE: what to do` each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Cell:
    """A cell as the source has it; `line` is the number of its `# %%` line, from 1."""

    kind: str
    """"markdown" or "code"."""
    text: str
    tags: tuple[str, ...]
    line: int

    def line_of(self, index: int) -> int:
        """The line in the file of the cell's text line `index`, from 0."""
        return self.line + 1 + index

    def has(self, tag: str) -> bool:
        return tag in self.tags


def read_cells(path: Path, shown: str) -> list[Cell]:
    """The cells of a source. Raises SourceError, which names the file as `shown`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SourceError([f"{shown}:1: cannot be read ({reason})"]) from None
    if not text.startswith(HEADER):
        raise SourceError(
            [f"{shown}:1: start with the header of the other sources, from `# ---` to `# ---`"]
        )
    lines = text.split("\n")
    first = HEADER.count("\n")
    marks = [n for n, line in enumerate(lines[first:], start=first + 1) if CELL_MARK.match(line)]
    before = next((n for n, line in enumerate(lines[first:], start=first + 1) if line.strip()), 0)
    if not marks or before != marks[0]:
        raise SourceError([f"{shown}:{before or first + 1}: start the first cell with `# %%`"])
    found = _jupytext().reads(text, fmt="py:percent").cells
    if len(found) != len(marks):
        # jupytext knows more marks, and knows when one is inside a string.
        raise SourceError(
            [f"{shown}:{marks[0]}: start each cell with `# %%`, and no line of a string with it"]
        )
    problems = [
        f"{shown}:{line}: leave out {key}: a cell has only tags"
        for cell, line in zip(found, marks, strict=True)
        for key in cell.metadata
        # jupytext notes unusual empty lines so that it could write them again.
        if key != "tags" and not key.startswith("lines_to_")
    ]
    if problems:
        raise SourceError(problems)
    return [
        Cell(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ())), line)
        for cell, line in zip(found, marks, strict=True)
    ]


def _jupytext() -> ModuleType:
    try:
        import jupytext
    except ImportError:
        raise RecognizerError(
            "jupytext is missing: run `pip install --editable '.[teach]'` in the project."
        ) from None
    return jupytext
