"""A student's notebook as grading sees it: which source it is of, and its code cells.

It may hold anything: code that does not parse, magics, files that are not notebooks at all.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from lab_authoring.source import Source

MAX_BYTES = 20 * 2**20
DOWNLOAD_IT = "download it again with File > Download > Download .ipynb"


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
        """Its source: by metadata, else by a source's name within the file's, else the one most of
        whose exercises it defines; None if nothing fits."""
        sources = list(sources)
        for source in sources:
            if Path(self.source_name).stem == source.name:
                return source
        named = [source for source in sources if source.name in self.path.stem]
        if named:
            return max(named, key=lambda source: len(source.name))
        shared = {
            source.name: len(self.last_definitions(one.name for one in source.exercises))
            for source in sources
        }
        best = max(sources, key=lambda source: shared[source.name], default=None)
        return best if best and shared[best.name] else None

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
    """Reads a student's notebook, as leniently as Jupyter does.

    Raises UnreadableNotebookError for a file that is missing, larger than 20 MiB, or no notebook.
    """
    notebook = _read_json(path)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if isinstance(notebook, dict) and notebook.get("nbformat") in (1, 2, 3):
        raise UnreadableNotebookError(
            f"{path} has the old format {notebook['nbformat']}: open it in JupyterLab and save it."
        )
    if not isinstance(cells, list) or notebook.get("nbformat") != 4:
        raise UnreadableNotebookError(f"{path} is no notebook: {DOWNLOAD_IT}.")
    metadata = _table(notebook.get("metadata"))
    return Submission(
        path,
        tuple(_code(path, cells)),
        str(_table(metadata.get("lab")).get("source", "")),
    )


def _read_json(path: Path) -> object:
    try:
        # A pipe would be waited for, and a device might never end.
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no file"
            raise UnreadableNotebookError(f"{path} is {kind}: name the notebooks themselves.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableNotebookError(
                f"{path} has {size / 2**20:.0f} MiB, and the limit is {MAX_BYTES / 2**20:.0f}: "
                "clear its outputs."
            )
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableNotebookError(
            f"{path} cannot be read ({error.strerror or error}): check its name."
        ) from None
    if not data.strip():
        raise UnreadableNotebookError(f"{path} is empty: {DOWNLOAD_IT}.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UnreadableNotebookError(f"{path} is no notebook (not JSON): {DOWNLOAD_IT}.") from None


def _code(path: Path, cells: list) -> Iterator[str]:
    """The text of each code cell but the set-up cell, which grading runs in its official form."""
    for number, cell in enumerate(cells, start=1):
        text = _table(cell).get("source")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            raise UnreadableNotebookError(
                f"{path} is no notebook (cell {number} has no text): {DOWNLOAD_IT}."
            )
        tags = _table(cell.get("metadata")).get("tags")
        is_set_up = isinstance(tags, list) and "setup" in tags
        if cell.get("cell_type") == "code" and not is_set_up:
            # Half a surrogate pair is legal JSON, and no text that could be sent to a kernel.
            yield text.encode("utf-8", "replace").decode("utf-8")


def _table(value: object) -> dict:
    return value if isinstance(value, dict) else {}
