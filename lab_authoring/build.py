"""Builds both notebooks of a source, the student's and the solution with its outputs, and says
which of the stored notebooks are not what their sources make.

The same source gives the same bytes, so that a change of a notebook is a change of its source.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab_authoring import outputs
from lab_authoring.contract import SourceError
from lab_authoring.source import (
    Source,
    read_source,
    shown,
    solution_notebook,
    source_paths,
    student_notebook,
)
from lab_authoring.wording import wording_problems
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

if TYPE_CHECKING:
    from nbformat import NotebookNode

CELL_TIMEOUT = 300.0  # s


def find_sources(names: Sequence[str], folder: Path) -> list[Path]:
    """The sources with these names or numbers; all of the folder if none is named.

    Raises RecognizerError for a name that no source has.
    """
    paths = source_paths(folder)
    found: set[Path] = set()
    for name in names:
        named = {path for path in paths if path.stem.startswith(Path(name).stem.zfill(2))}
        if not named:
            known = ", ".join(path.stem for path in paths) or "none yet"
            raise RecognizerError(f"There is no notebook {name}: there are {known}.")
        found |= named
    return sorted(found) if names else paths


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
        _write(path, new)


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
        solution.metadata = student.metadata
        for cell in solution.cells:
            if "timing" in cell.metadata.get("tags", ()):
                cell.outputs = []  # they differ at each run
            elif cell.cell_type == "code":
                cell.outputs = outputs.merged(cell.outputs)
        problems = list(outputs.problems(solution))
    except CellError as error:
        problems = [error.args]
    if problems:
        where = shown(source.path)
        lines = [f"{where}:{source.cells[i].line}: {_in_cell(i, what)}" for i, what in problems]
        raise SourceError(lines)
    _write(source.student_path, outputs.as_text(student))
    _write(source.solution_path, outputs.as_text(solution))
    return source.solution_path.stat().st_size


def check_notebooks(folder: Path) -> list[str]:
    """What is wrong with the notebooks made of the sources in `folder`, one line each.

    It runs nothing. Raises SourceError if a source breaks the contract.
    """
    sources = [read_source(path) for path in source_paths(folder)]
    wanted = {path for source in sources for path in (source.student_path, source.solution_path)}
    there = {*folder.parent.glob("*.ipynb"), *folder.parent.glob("solutions/*.ipynb")}
    lines = [
        f"{shown(path)}: no source makes it: delete it, or write {folder.name}/{path.stem}.py"
        for path in sorted(there - wanted)
    ]
    for source in sources:
        lines += _differences(source, source.student_path, student_notebook(source))
        lines += _differences(source, source.solution_path, solution_notebook(source))
    return [*lines, *wording_problems(folder.parents[1])]


def _differences(source: Source, path: Path, wanted: "NotebookNode") -> Iterator[str]:
    """How the notebook in a file differs from the one wanted, which has no outputs."""
    from nbformat import v4

    build = f"run `lab notebooks build {source.number}`"
    try:
        text = path.read_text(encoding="utf-8")
        stored, stripped = v4.reads(text), v4.reads(text)
        for cell in stripped.cells:
            if cell.cell_type == "code" and path == source.solution_path:
                cell.outputs, cell.execution_count = [], None
        # Apart from outputs, the file has exactly the bytes that a build writes.
        same = outputs.as_text(stripped) == outputs.as_text(wanted)
        same = same and outputs.as_text(stored) == text
    except Exception:  # there is no file, or whatever one leads to that is not a notebook
        same = False
    if not same:
        yield f"{shown(path)}: is not what {shown(source.path)} makes: {build}"
    elif path == source.solution_path:
        for index, what in outputs.problems(stored):
            yield f"{shown(path)}: {_in_cell(index, what)}: {build}"


def _in_cell(index: int, what: str) -> str:
    return f"cell {index + 1} {' '.join(what.split())}"


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
