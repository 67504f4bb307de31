"""A student's notebook as grading sees it: which source it is of, and its code cells.

It may hold anything: code that does not parse, magics, files that are not notebooks at all.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from lab_authoring.source import Source

MAX_BYTES = 20 * 2**20


class UnreadableNotebookError(RecognizerError):
    """The file can't be graded as a notebook, and the message says why."""


@dataclass(frozen=True)
class Submission:
    """What was handed in; the set-up cell is left out."""

    path: Path
    cells: tuple[str, ...]
    """The text of each code cell."""
    source_name: str
    """From the notebook's own metadata; empty if they have none."""

    def source(self, sources: Iterable["Source"]) -> "Source | None":
        """Its source: by metadata, else by a source's name within the file's; else None."""
        known = {source.name: source for source in sources}
        named = [source for name, source in known.items() if name in self.path.stem]
        return known.get(Path(self.source_name).stem) or next(iter(named), None)

    def last_definitions(self, names: Iterable[str]) -> dict[str, int]:
        """The index of the cell after which each function is checked: the last that defines it.

        Another assignment counts only for a name that no cell defines otherwise, because
        `cer = cer(read, text)` after an exercise is not an answer to it.
        """
        found = {}
        for name in names:
            several = r"(?:\w+[ \t]*=[ \t]*)*"
            defines = (
                rf"(?:async[ \t]+)?(?:def|class)[ \t]+{name}\b"
                rf"|(?:from[ \t].*)?import[ \t].*\b{name}\b"
                rf"|{several}{name}[ \t]*=[ \t]*{several}lambda\b"
            )
            assigns = rf"{name}[ \t]*=(?!=|[ \t]*checks\.)"
            cells = self._matching(defines) or self._matching(assigns)
            if cells:
                found[name] = cells[-1]
        return found

    def _matching(self, statement: str) -> list[int]:
        """The cells with a line that starts so."""
        wanted = re.compile(rf"^[ \t]*(?:{statement})", re.MULTILINE)
        return [index for index, text in enumerate(self.cells) if wanted.search(text)]


def read_submission(path: Path) -> Submission:
    """Reads a student's notebook, as leniently as Jupyter does; grading has its own set-up cell.

    Raises UnreadableNotebookError for a file that is missing, larger than 20 MiB, or not a
    notebook.
    """
    from nbformat import convert, reader

    try:
        notebook = convert(reader.reads(_text(path)), 4)
        cells = [
            # Half a surrogate pair is legal JSON, but text that no program could be given.
            cell.source.encode("utf-8", "replace").decode("utf-8")
            for cell in notebook.cells
            if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", ())
        ]
        source = str(notebook.metadata.get("lab", {}).get("source", ""))
    except OSError as error:
        raise UnreadableNotebookError(f"{path} cannot be read ({error.strerror}).") from None
    except UnreadableNotebookError:
        raise
    except Exception as error:  # whatever a file leads to that is not a notebook
        raise UnreadableNotebookError(
            f"{path} is not a notebook ({type(error).__name__}): download it again with File > "
            "Download > Download .ipynb."
        ) from None
    return Submission(path, tuple(cells), source)


def _text(path: Path) -> str:
    # A pipe would be waited for, and a device might never end.
    if path.exists() and not path.is_file():
        raise UnreadableNotebookError(f"{path} is not a file: name the notebooks themselves.")
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableNotebookError(
            f"{path} is larger than {MAX_BYTES / 2**20:.0f} MiB: clear its outputs."
        )
    return path.read_bytes().decode("utf-8-sig")
