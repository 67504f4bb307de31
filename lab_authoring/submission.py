"""A student's notebook as grading sees it: its code cells, and which source it is of.

It may hold anything: code that does not parse, magics, files that are not notebooks at all.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab_authoring.source import Source
from text_recognizer.errors import RecognizerError

MAX_BYTES = 20 * 2**20


class UnreadableNotebookError(RecognizerError):
    """The file can't be graded as a notebook, and the message says why."""


def last_definitions(cells: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """The index of the cell after which each function is checked: the last that defines it.

    Another assignment counts only for a name that no cell defines otherwise, because
    `cer = cer(read, text)` after an exercise is not an answer to it.
    """
    found = {}
    for name in names:
        # No part may read a line again from each of its words: a line may have 20 MB.
        defines = (
            rf"(async +)?(def|class) +{name}\b"
            rf"|(from +[\w.]+ +)?import +[\w., ()]*\b{name}\b"
            rf"|(?=(?:\w+ *= *)++lambda\b)(?:\w+ *= *)*{name} *="
        )
        assigns = rf"{name} *=(?!=| *checks\.)"
        for statement in (assigns, defines):
            line = re.compile(rf"^[ \t]*+({statement})", re.MULTILINE)
            at = [index for index, text in enumerate(cells) if line.search(text)]
            found |= {name: at[-1]} if at else {}
    return found


def read_submission(path: Path, sources: Iterable[Source]) -> tuple[Source, list[str]]:
    """The source of a student's notebook, and the text of each code cell but the set-up's.

    The source is found by the notebook's metadata, else by its name within the file's. It is read
    as leniently as Jupyter does. Raises UnreadableNotebookError for a file that is missing, larger
    than 20 MiB, or not a notebook of the lab.
    """
    import nbformat

    if not path.is_file():  # a pipe would be waited for, and a device might never end
        raise UnreadableNotebookError(f"{path} is not a file: name the notebooks themselves.")
    if path.stat().st_size > MAX_BYTES:
        raise UnreadableNotebookError(f"{path} is larger than 20 MiB: clear its outputs.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        notebook = nbformat.reads(text, as_version=4, capture_validation_error={})
        cells = [
            # Half a surrogate pair is legal JSON, but text that no program could be given.
            cell.source.encode("utf-8", "replace").decode("utf-8")
            for cell in notebook.cells
            if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", ())
        ]
        named = notebook.metadata.get("lab", {}).get("source")
    except Exception as error:  # whatever a file leads to that is not a notebook
        raise UnreadableNotebookError(
            f"{path} is not a notebook ({type(error).__name__}): download it again with File > "
            "Download > Download .ipynb."
        ) from None
    for source in sorted(sources, key=lambda source: source.name != named):
        if source.name == named or source.name in path.stem:
            return source, cells
    raise UnreadableNotebookError(
        f"{path} is not one of the lab's notebooks, neither by its metadata nor by its name."
    )
