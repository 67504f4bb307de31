"""Whether the generated notebooks are the ones that their sources make; needs no kernel."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from lab_authoring.build import read_sources
from lab_authoring.outputs import as_text, problems
from lab_authoring.source import Source, shown, solution_notebook, source_paths, student_notebook
from lab_authoring.wording import code_problems, page_problems, wording_problems

if TYPE_CHECKING:
    from nbformat import NotebookNode


def check_notebooks(folder: Path) -> list[str]:
    """What is wrong with the notebooks made of the sources in `folder`, one line each.

    Raises SourceError if a source breaks the contract.
    """
    sources = read_sources(source_paths(folder))
    wanted = {path for source in sources for path in (source.student_path, source.solution_path)}
    there = [*folder.parent.glob("*.ipynb"), *folder.parent.glob("solutions/*.ipynb")]
    lines = [
        f"{shown(path)}: no source makes it: delete it, or write {folder.name}/{path.stem}.py"
        for path in sorted(there)
        if path not in wanted
    ]
    for source in sources:
        lines += wording_problems(source)
        lines += _differences(source, source.student_path, student_notebook(source))
        lines += _differences(source, source.solution_path, solution_notebook(source))
    return [*lines, *page_problems(folder.parents[1]), *code_problems(folder.parents[1])]


def _differences(source: Source, path: Path, wanted: "NotebookNode") -> Iterator[str]:
    """How the notebook in a file differs from the one wanted, which has no outputs."""
    from nbformat import v4

    build = f"run `lab notebooks build {source.number}`"
    try:
        text = path.read_text(encoding="utf-8")
        stored = v4.reads(text)
        stripped = deepcopy(stored)
        for cell in stripped.cells:
            if cell.cell_type == "code" and path == source.solution_path:
                cell.outputs, cell.execution_count = [], None
        # Apart from outputs, the file has exactly the bytes that a build writes.
        same = as_text(stripped) == as_text(wanted) and as_text(stored) == text
    except Exception:  # there is no file, or whatever one leads to that is not a notebook
        same = False
    if not same:
        yield f"{shown(path)}: is not what {source.shown} makes: {build}"
    elif path == source.solution_path:
        for index, what in problems(stored):
            yield f"{shown(path)}: cell {index + 1} {' '.join(what.split())}: {build}"
