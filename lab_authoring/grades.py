"""What grading found: a row for each exercise, totals by student, and a page of feedback for each.

A student is known by what the name of the file has besides the notebook's name, as in
`anna_01_checkpoint_to_torchscript.ipynb`, else by the folder that the file is in.
"""

import html
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
"""The result of a file that is not a notebook."""
TOTAL = "total"
"""In the column of exercises: the row has a student's points."""


@dataclass(frozen=True)
class Result:
    """One row of the table: an exercise, or a notebook without any (`number` is None)."""

    student: str
    notebook: Path
    source: str
    number: int | None
    exercise: str
    result: str
    """passed, failed, missing (no cell defines the function), timed out, out of memory, died (the
    Python process ended), not reached (the notebook's time was over), no source, unreadable."""
    points: int
    possible: int
    message: str
    """One line; empty if the exercise is passed."""

    @classmethod
    def of_none(cls, student: str, notebook: Path, result: str, message: str) -> "Result":
        """The row of a file without exercises."""
        return cls(student, notebook, "", None, "", result, 0, 0, message)

    @property
    def passed(self) -> bool:
        return self.result == PASSED


def student_of(path: Path, sources: Iterable[str]) -> str:
    """Who handed in a file, in characters that a file's name may have."""
    name = path.stem
    for source in sources:
        name = name.replace(source, "")
    name = re.sub(r"(-Copy\d+| ?\(\d+\))$", "", name)  # as JupyterLab and browsers add
    name = name.strip(" _.-") or path.resolve().parent.name
    return re.sub(r"[^\w.@+-]+", "_", name).strip("_.-") or "nobody"


def by_student(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Each student's results, in the order of the names.

    If an exercise was handed in more than once, the best result counts.
    """
    best: dict[str, dict[tuple, Result]] = defaultdict(dict)
    for one in results:
        key = (one.source, one.exercise) if one.exercise else (one.notebook,)
        known = best[one.student].get(key)
        if known is None or one.points > known.points:
            best[one.student][key] = one
    return {student: list(best[student].values()) for student in sorted(best)}


def write_grades(out: Path, results: Iterable[Result]) -> None:
    """Writes the table: the results, then the total of each student. Raises TableError."""
    results = list(results)
    rows = [list(astuple(one)) for one in results]
    for student, best in by_student(results).items():
        points, possible = sums(best)
        rows.append([student, "", "", "", TOTAL, "", points, possible, ""])
    write_table(out, COLUMNS, rows)


def write_feedback(folder: Path, results: Iterable[Result]) -> None:
    """Writes a Markdown page for each student, STUDENT.md. Raises OSError."""
    for student, best in by_student(results).items():
        with replacing(folder / f"{student}.md") as partial:
            partial.write_text(_page(student, best), encoding="utf-8", newline="\n")


def _page(student: str, results: list[Result]) -> str:
    points, possible = sums(results)
    lines = [f"# {student}: {points} of {possible} points"]
    notebooks: dict[str, list[Result]] = defaultdict(list)
    for one in results:
        notebooks[one.source or one.notebook.name].append(one)
    for name, rows in notebooks.items():
        points, possible = sums(rows)
        lines += ["", f"## {html.escape(name)}: {points} of {possible} points", ""]
        lines += [_line(one) for one in rows]
    return "\n".join(lines) + "\n"


def _line(one: Result) -> str:
    # What a student's code said must not become markup: no HTML, no links, no pictures.
    message = html.escape(one.message, quote=False).replace("](", "] (")
    if one.number is None:
        return f"- {one.result}: {message}"
    of = f"- Exercise {one.number}, `{one.exercise}`: {one.points} of {one.possible} points"
    return f"{of}." if one.passed else f"{of} ({one.result}). {message}"


def sums(results: Iterable[Result]) -> tuple[int, int]:
    """The points reached, and the points to reach."""
    results = list(results)
    return sum(one.points for one in results), sum(one.possible for one in results)
