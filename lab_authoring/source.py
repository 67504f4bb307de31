"""A notebook's source, read and checked against the contract, and the two notebooks made from it:
the student's, and the solution before it is run."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_authoring import contract
from lab_authoring.contract import Cell, Exercise, SourceError, Tell, read_cells
from lab_utils.lessons.official import imports_of
from text_recognizer.places import PROJECT

if TYPE_CHECKING:
    from nbformat import NotebookNode

SOURCES = PROJECT / "notebooks" / "source"
NAME = re.compile(r"\d\d_[a-z][a-z0-9]*(_[a-z0-9]+)*")
IGNORED_BY_NBVAL = "nbval-ignore-output"
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
"""Makes Colab and JupyterLab show only a cell's first line until it is opened."""
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
"""Of each notebook: nothing of the machine or the versions that built it."""

SOLUTION = """

<details><summary>Solution</summary>

```python
{code}
```

</details>"""
GO_ON = """\
# Not solved? The rest of the notebook then uses the official function.
{name} = checks.go_on("{name}", {name})"""


@dataclass(frozen=True)
class Source:
    """A source that keeps the contract."""

    path: Path
    title: str
    minutes: int
    cells: tuple[Cell, ...]
    exercises: tuple[Exercise, ...]
    import_code: str
    """The import statements of all cells but the exercises', one a line: what an answer may use."""

    @property
    def name(self) -> str:
        """With the number: "01_checkpoint_to_torchscript"."""
        return self.path.stem

    @property
    def number(self) -> str:
        """Two digits."""
        return self.name[:2]

    @property
    def module(self) -> str:
        """Without the number: the name of its checks and of its figures."""
        return self.name[3:]

    @property
    def student_path(self) -> Path:
        return self.path.parent.parent / f"{self.name}.ipynb"

    @property
    def solution_path(self) -> Path:
        return self.path.parent.parent / "solutions" / f"{self.name}.ipynb"


def shown(path: Path) -> str:
    """The path from the project's root, so that editors find it; else the whole path."""
    path = path.resolve()
    return str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path)


def source_paths(folder: Path = SOURCES) -> list[Path]:
    """The sources, in the order of their numbers."""
    return sorted(folder.glob("*.py"))


def read_source(path: Path) -> Source:
    """Reads a source.

    Raises SourceError with everything in it that breaks the contract.
    """
    name = shown(path)
    cells = read_cells(path, name)
    found: list[tuple[int, str]] = []

    def tell(line: int, what: str) -> None:
        found.append((line, what))

    _check_name(path, tell)
    title, minutes = contract.read_head(cells, tell)
    contract.check_cells(cells, tell)
    exercises = contract.read_exercises(cells, tell)
    lessons = path.parents[2] / "lab_utils" / "lessons"
    contract.check_functions(exercises, lessons / path.stem[3:] / "checks.py", tell)
    if found:
        raise SourceError([f"{name}:{line}: {what}" for line, what in sorted(set(found))])
    imports = [imports_of(c.text) for c in cells if c.kind == "code" and "exercise" not in c.tags]
    return Source(path, title, minutes, tuple(cells), exercises, "".join(imports))


def student_notebook(source: Source) -> "NotebookNode":
    """The notebook that students get: stubs in the solutions' place, no outputs.

    Nobody gets stuck: a check that fails does not stop the notebook, each hint is followed by the
    folded solution, and a cell that goes on with the official function if the student's does not
    pass its check.
    """
    from nbformat import v4

    notebook = _notebook(source, {one.index: one.stub for one in source.exercises})
    for exercise in reversed(source.exercises):
        check, hint = exercise.index + 1, exercise.index + 2
        notebook.cells[check].metadata["tags"].append("raises-exception")
        notebook.cells[hint].source += SOLUTION.format(code=exercise.solution.strip())
        code = GO_ON.format(name=exercise.name)
        notebook.cells.insert(hint + 1, v4.new_code_cell(code, id=_hash(code), metadata={}))
    return notebook


def solution_notebook(source: Source) -> "NotebookNode":
    """The notebook with the solutions, not run."""
    return _notebook(source, {one.index: one.solution for one in source.exercises})


def _notebook(source: Source, code: dict[int, str]) -> "NotebookNode":
    """The notebook with the code of exercises given by their index among the cells."""
    from nbformat import v4

    from lab_utils.setup import badge, setup_cell

    cells, seen = [], Counter()
    for index, cell in enumerate(source.cells):
        # From the cell's text in the source: an edit changes only the id of that cell, and a cell
        # has one id in both notebooks. A count tells cells with the same text apart.
        same = seen[cell.kind, cell.text]
        seen[cell.kind, cell.text] += 1
        cell_id = _hash(f"{cell.kind}\n{same}\n{cell.text}")
        text = code.get(index, cell.text)
        if index == 0:
            title, *rest = cell.text.split("\n")
            text = "\n".join([title, "", badge(source.name), *rest])
        elif "setup" in cell.tags:
            text = setup_cell().strip("\n")
        # nbval can't compare what differs at each run.
        ignored = "timing" in cell.tags and IGNORED_BY_NBVAL not in cell.tags
        tags = [*cell.tags, *([IGNORED_BY_NBVAL] if ignored else [])]
        new = v4.new_code_cell if cell.kind == "code" else v4.new_markdown_cell
        about = {"tags": tags} if tags else {}
        about |= FOLDED if "setup" in cell.tags else {}
        cells.append(new(text, id=cell_id, metadata=about))
    return v4.new_notebook(cells=cells, metadata=METADATA | {"lab": {"source": source.name}})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _check_name(path: Path, tell: Tell) -> None:
    """The file's name is a number and a module's name, and no other source has the number."""
    if not NAME.fullmatch(path.stem):
        tell(1, "name the file by two digits and a module's name, as 01_two_words.py")
    for other in source_paths(path.parent):
        if other.name != path.name and other.name[:2] == path.name[:2]:
            tell(1, f"give this notebook another number: {other.name} has it")
