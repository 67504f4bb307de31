"""Builds both notebooks of a source: the student's, and the solution with its outputs.

The same source gives the same bytes, so that a change of a notebook is a change of its source.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lab_authoring import outputs
from lab_authoring.cells import SourceError
from lab_authoring.source import (
    Source,
    read_source,
    solution_notebook,
    source_paths,
    student_notebook,
)
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

CELL_TIMEOUT = 300.0
"""s."""


def find_sources(names: Sequence[str], folder: Path) -> list[Path]:
    """The sources with these names or numbers; all of the folder if none is named.

    Raises RecognizerError for a name that no source has.
    """
    paths = source_paths(folder)
    starts = {name: Path(name).stem.zfill(2) for name in names}
    for name, start in starts.items():
        if not any(path.stem.startswith(start) for path in paths):
            known = ", ".join(path.stem for path in paths) or "none yet"
            raise RecognizerError(f"There is no notebook {name}: there are {known}.")
    return [path for path in paths if not names or path.stem.startswith(tuple(starts.values()))]


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Reads sources. Raises SourceError with the problems of all of them."""
    sources, problems = [], []
    for path in paths:
        try:
            sources.append(read_source(path))
        except SourceError as error:
            problems += error.problems
    if problems:
        raise SourceError(problems)
    return sources


def renumber(path: Path) -> None:
    """Numbers the exercises of a source in their order, and "exercise 5" in its texts with them.

    The file is written only if a number changes.
    """
    text = path.read_text(encoding="utf-8")
    heading = r"^# ### Exercise (\d+)(?=: )"
    numbers = re.findall(heading, text, re.MULTILINE)
    new_of = {old: str(new) for new, old in enumerate(numbers, start=1)}
    count = itertools.count(1)

    def numbered(found: re.Match) -> str:
        if found[1]:
            return f"# ### Exercise {next(count)}"
        return f"{found[2]}{new_of.get(found[3], found[3])}"

    new = re.sub(rf"{heading}|\b(exercise )(\d+)\b", numbered, text, flags=re.MULTILINE)
    if new != text:
        with replacing(path) as partial:
            partial.write_text(new, encoding="utf-8", newline="\n")


def build(source: Source, on_cell: Callable[[int], None] = lambda index: None) -> int:
    """Writes both notebooks of a source and returns the size of the solution in bytes.

    `on_cell` gets the index of each code cell before it runs. The old files stay whole until both
    new ones are there.

    Raises SourceError if a cell fails, or shows what differs between runs or machines.
    """
    from lab_authoring.kernel import CellError, run_notebook

    student, solution = student_notebook(source), solution_notebook(source)
    folder = source.solution_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # nbval runs it there as well
        solution = run_notebook(solution, folder, CELL_TIMEOUT, on_cell)
    except CellError as error:
        raise SourceError([_at(source, error.index, str(error))]) from None
    solution.metadata = student.metadata
    outputs.normalize(solution)
    problems = [_at(source, index, what) for index, what in outputs.problems(solution)]
    if problems:
        raise SourceError(problems)
    for path, notebook in ((source.student_path, student), (source.solution_path, solution)):
        with replacing(path) as partial:
            partial.write_text(outputs.as_text(notebook), encoding="utf-8", newline="\n")
    return source.solution_path.stat().st_size


def _at(source: Source, index: int, what: str) -> str:
    line = " ".join(what.split())
    return f"{source.shown}:{source.cells[index].line}: cell {index + 1} {line}"
