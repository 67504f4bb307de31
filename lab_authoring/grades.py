"""What grading found: a row for each exercise, totals by student, and a page of feedback for each.

A student is known by what the name of the file has besides the notebook's name, as in
`anna_01_checkpoint_to_torchscript.ipynb`, else by the folder that the file is in.
"""

import html
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from lab_utils.tables import write_table
from text_recognizer.files import replacing

COLUMNS = (
    *("student", "notebook", "source", "exercise number", "exercise"),
    *("result", "points", "of", "message"),
)
PASSED = "passed"
UNREADABLE = "unreadable"
"""The result of a file that is not a notebook of the lab."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table: an exercise, or a file that is unreadable (`number` is None)."""

    student: str
    notebook: Path
    source: str = ""
    number: int | None = None
    exercise: str = ""
    result: str
    """passed, failed, missing (no cell defines the function), timed out, out of memory, died (the
    Python process ended), not reached (the notebook's time was over), unreadable."""
    points: int = 0
    possible: int = 0
    message: str = ""
    """One line; empty if the exercise is passed."""


def student_of(path: Path, sources: Iterable[str]) -> str:
    """Who handed in a file, in characters that a file's name may have."""
    name = path.stem
    for source in sources:
        name = name.replace(source, "")
    name = re.sub(r"(-Copy\d+| ?\(\d+\))$", "", name)  # as JupyterLab and browsers add
    name = name.strip(" _.-") or path.resolve().parent.name
    return re.sub(r"[^\w.@+-]+", "_", name).strip("_.-") or "nobody"


def by_student(results: list[Result]) -> dict[str, list[Result]]:
    """Each student's results, in the order of the names.

    If an exercise was handed in more than once, the best result counts, of equal ones the first.
    """
    best: dict[str, dict[tuple, Result]] = defaultdict(dict)
    for one in sorted(reversed(results), key=lambda one: one.points):
        best[one.student][one.source, one.number or one.notebook] = one
    return {
        student: sorted(rows.values(), key=lambda one: (one.source, one.number or 0))
        for student, rows in sorted(best.items())
    }


def write_grades(out: Path, results: list[Result]) -> None:
    """Writes the table: the results, then the total of each student. Raises RecognizerError."""
    rows = [list(astuple(one)) for one in results]
    for student, best in by_student(results).items():
        points, possible = sums(best)
        rows.append([student, "", "", "", "total", "", points, possible, ""])
    write_table(out, COLUMNS, rows)


def write_feedback(folder: Path, results: list[Result]) -> None:
    """Writes a Markdown page for each student, STUDENT.md. Raises OSError."""
    for student, best in by_student(results).items():
        with replacing(folder / f"{student}.md") as partial:
            partial.write_text(_page(student, best), encoding="utf-8", newline="\n")


def _page(student: str, results: list[Result]) -> str:
    points, possible = sums(results)
    lines = [f"# {student}: {points} of {possible} points"]
    for name, group in itertools.groupby(results, lambda one: one.source or one.notebook.name):
        rows = list(group)
        points, possible = sums(rows)
        heading = f"## {html.escape(name)}: {points} of {possible} points"
        lines += ["", heading, "", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(one: Result) -> str:
    # What a student's code said must not become markup: no HTML, no links, no pictures.
    message = html.escape(one.message, quote=False).replace("](", "] (")
    if one.number is None:
        return f"- {one.result}: {message}"
    of = f"- Exercise {one.number}, `{one.exercise}`: {one.points} of {one.possible} points"
    return f"{of}." if one.result == PASSED else f"{of} ({one.result}). {message}"


def sums(results: list[Result]) -> tuple[int, int]:
    """The points reached, and the points to reach."""
    return sum(one.points for one in results), sum(one.possible for one in results)
