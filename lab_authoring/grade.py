"""Grades students' notebooks: each runs in its own process, within limits, in a throw-away copy of
the project, and the official checks say which exercises are solved.

Only the official check counts. It is run from its text in the instructor's checkout, and its result
does not pass through anything that is printed. So printing the check's line, editing the check
cells, or rebinding `checks`, `print` or the functions of `lab_utils.lessons.checking` changes
nothing.

The limits stop accidents, not attacks: a student's code runs as the user who grades, in the process
that runs the check, and can read files, use the network and change what the check calls. Grade
notebooks of people you do not trust in a container without a network.
"""

import re
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_authoring.limited_process import Ending, GradingError, LimitedProcess
from lab_authoring.submission import Submission, UnreadableNotebookError, read_submission
from lab_authoring.workplace import workplace
from lab_utils.tables import TableError, write_table
from text_recognizer.places import PROJECT

if TYPE_CHECKING:
    from lab_authoring.source import Source

COLUMNS = "notebook", "source", "exercise number", "exercise", "result", "message", "seconds"
PASSED = "passed"
UNREADABLE = "unreadable"
"""The result of a file that is not a notebook."""
MAX_STARTS = 10
"""Processes that one notebook may use up."""


@dataclass(frozen=True)
class Result:
    """One row of the table: an exercise, or a notebook without any (`number` is None)."""

    notebook: Path
    source: str
    number: int | None
    exercise: str
    result: str
    """passed, failed, missing (no cell defines the function), timed out, out of memory, died (the
    Python process ended), not reached (the notebook's time was over), no source, unreadable."""
    message: str
    """One line; empty where the exercise is passed."""
    seconds: float
    """For the cell that defines the function and for its check."""

    @property
    def passed(self) -> bool:
        return self.result == PASSED


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    cell_timeout: float = 60.0
    """s for each cell and each check; then it is interrupted, or killed."""
    total_timeout: float = 600.0
    """s for the notebook."""
    memory_mib: int = 4096
    """Of data, for each process of a notebook."""


@dataclass(frozen=True)
class Course:
    """What is official: sources with their checks, the set-up, and the project they run in."""

    project: Path
    sources: tuple["Source", ...]
    set_up: str
    """The code of the set-up cell."""
    lessons: Path
    """The folder of the lessons, each with its module `checks`."""

    def check_modules(self, source: "Source") -> dict[str, str]:
        """The texts of the modules that the checks of a source consist of, in the order in which
        they are run, by their names."""
        package, file = "lab_utils.lessons", self.lessons / source.module / "checks.py"
        base = PROJECT / "lab_utils" / "lessons" / "checking.py"
        try:
            return {
                f"{package}.checking": base.read_text(encoding="utf-8"),
                f"{package}.{source.module}.checks": file.read_text(encoding="utf-8"),
            }
        except OSError as error:
            raise GradingError(
                f"The checks of {source.name} cannot be read ({error.strerror}): restore {file}."
            ) from None


def lab_course() -> Course:
    """The course of this checkout."""
    from lab_authoring.source import read_source, source_paths
    from lab_utils.setup import setup_cell

    sources = tuple(read_source(path) for path in source_paths())
    return Course(PROJECT, sources, setup_cell(), PROJECT / "lab_utils" / "lessons")


def grade_notebooks(
    paths: list[Path],
    out: Path,
    limits: Limits,
    progress: Callable[[str], None] = lambda line: None,
    course: Course | None = None,
) -> list[Result]:
    """Grades notebooks one after another and writes the table again after each.

    A file that is not a notebook gets one row with the result UNREADABLE, and the others are
    graded. Ctrl-C ends all processes; the rows of the notebooks before it are in the table.

    Args:
        out: the CSV file.
        progress: gets one line a notebook.

    Raises TableError if the table cannot be written, which is tried first, and GradingError if no
    process starts or the official set-up fails.
    """
    if out.suffix == ".ipynb":
        raise TableError(f"{out} would be a notebook: let --out end in .csv.")
    course = course or lab_course()
    results: list[Result] = []
    write_table(out, COLUMNS, [])
    for path in paths:
        start = time.monotonic()
        rows = grade_notebook(path, course, limits)
        results += rows
        write_table(out, COLUMNS, [_cells(row) for row in results])
        progress(_summary(path, rows, time.monotonic() - start))
    return results


def grade_notebook(path: Path, course: Course, limits: Limits) -> list[Result]:
    """Grades one notebook: a result for each exercise of its source, in their order."""
    try:
        submission = read_submission(path)
    except UnreadableNotebookError as error:
        return [Result(path, "", None, "", UNREADABLE, _one_line(str(error)), 0.0)]
    source = submission.source(course.sources)
    if source is None:
        message = "neither its name nor its functions are those of one of the lab's notebooks"
        return [Result(path, "", None, "", "no source", message, 0.0)]
    outcomes = _grade(submission, source, course, limits)
    return [
        Result(path, source.name, exercise.number, exercise.name, ending.result, message, seconds)
        for exercise in source.exercises
        for ending, seconds in [outcomes[exercise.name]]
        for message in [_one_line(ending.message)]
    ]


def _grade(
    submission: Submission, source: "Source", course: Course, limits: Limits
) -> dict[str, tuple[Ending, float]]:
    """How each exercise ended, and the seconds it took, by its name."""
    last = submission.last_definitions(exercise.name for exercise in source.exercises)
    outcomes = {
        exercise.name: (Ending("missing", f"no cell defines {exercise.name}"), 0.0)
        for exercise in source.exercises
    }
    modules = course.check_modules(source)
    checks = list(modules)[-1]
    with (
        workplace(course.project) as place,
        LimitedProcess(place, limits.memory_mib, checks) as process,
    ):
        run = _Run(submission, process, course.set_up, limits)
        try:
            for index in range(max(last.values(), default=-1) + 1):
                start = time.monotonic()
                ending = run.cell(index)
                for name in [name for name, where in last.items() if where == index]:
                    outcomes[name] = run.check(name, ending, modules), time.monotonic() - start
                    start = time.monotonic()
        except _Over as over:
            for name, where in last.items():
                if where >= index and outcomes[name][0].result == "missing":
                    outcomes[name] = Ending("not reached", str(over)), 0.0
    return outcomes


class _Over(Exception):
    """The notebook has used up its time or its processes."""


class _Run:
    """The cells of one notebook, run in order; cells that never ended or that a process did not
    survive are left out when those before the current one are run again in a new process."""

    def __init__(
        self, submission: Submission, process: LimitedProcess, set_up: str, limits: Limits
    ) -> None:
        self._cells = submission.cells
        self._process = process
        self._set_up = set_up
        self._limits = limits
        self._deadline = time.monotonic() + limits.total_timeout
        self._starts = 0
        self._left_out: set[int] = set()

    def cell(self, index: int) -> Ending:
        """Runs a cell, in a process that has run those before it."""
        while not self._process.alive:
            self._start()
            for earlier in range(index):
                if self._process.alive and earlier not in self._left_out:
                    self._execute(earlier)
        return self._execute(index)

    def check(self, name: str, cell: Ending, modules: dict[str, str]) -> Ending:
        """Checks an exercise after the cell that defines its function has ended so."""
        seconds = self._seconds()
        if not cell.alive:
            return self._explained(cell, "its cell")
        ending = self._process.check(name, modules, seconds)
        if ending.result != "missing":
            return self._explained(ending, "its check")
        if cell.result in ("ok", "failed"):
            how = f" stopped with {cell.message}" if cell.message else " ended"
            return Ending("failed", f"its cell{how} before {name} was defined")
        return self._explained(cell, "its cell")

    def _explained(self, ending: Ending, what: str) -> Ending:
        """With a sentence about `what` where the ending is one of the limits."""
        messages = {
            "timed out": f"{what} ran longer than {self._limits.cell_timeout:g} s",
            "out of memory": f"{what} took more than {self._limits.memory_mib} MiB",
            "died": f"{what} {ending.message}",
        }
        return Ending(ending.result, messages.get(ending.result, ending.message), ending.alive)

    def _execute(self, index: int) -> Ending:
        ending = self._process.execute(self._cells[index], self._seconds())
        if not ending.alive or ending.result == "timed out":
            self._left_out.add(index)
        return ending

    def _start(self) -> None:
        self._seconds()
        if self._starts == MAX_STARTS:
            raise _Over(f"the notebook's cells ended {MAX_STARTS} processes before")
        self._starts += 1
        self._process.start()
        ending = self._process.execute(self._set_up, max(60.0, self._limits.cell_timeout))
        if ending.result != "ok":
            raise GradingError(f"The set-up cell fails here: {ending.message or ending.result}")

    def _seconds(self) -> float:
        """The time that a cell or a check has."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _Over(f"the notebook ran longer than {self._limits.total_timeout:g} s before")
        return min(left, self._limits.cell_timeout)


def _one_line(text: str, most: int = 300) -> str:
    """Text without colours, line breaks and control characters, cut to `most` characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    plain = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def _cells(row: Result) -> list[object]:
    return [*astuple(row)[:-1], f"{row.seconds:.1f}"]


def _summary(path: Path, rows: list[Result], seconds: float) -> str:
    if rows[0].number is None:
        # The message of an unreadable file names it.
        return rows[0].message if rows[0].result == UNREADABLE else f"{path}: {rows[0].message}"
    passed = sum(row.passed for row in rows)
    return f"{path}: {passed} of {len(rows)} passed ({seconds:.0f} s)"
