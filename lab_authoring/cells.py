"""The cells of a py:percent source, each with the line where it starts, so that each message about
a cell can name its place."""

import re
from dataclasses import dataclass
from pathlib import Path

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
        import jupytext
    except ImportError:
        raise RecognizerError(
            "jupytext is missing: run `pip install --editable '.[teach]'` in the project."
        ) from None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError([f"{shown}:1: cannot be read ({error})"]) from None
    lines = enumerate(text.split("\n"), start=1)
    marks = [number for number, line in lines if CELL_MARK.match(line)]
    found = jupytext.reads(text, fmt="py:percent").cells if text.startswith(HEADER) else []
    if not found or len(found) != len(marks):
        # jupytext knows more marks, and knows when one is inside a string.
        raise SourceError(
            [
                f"{shown}:1: start with the header of the other sources, from `# ---` to `# ---`, "
                "then each cell, and no line of a string, with `# %%`"
            ]
        )
    return [
        Cell(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ())), line)
        for cell, line in zip(found, marks, strict=True)
    ]
