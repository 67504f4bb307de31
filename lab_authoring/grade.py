"""Grades students' notebooks: each runs in its own process, within limits, in a throw-away copy of
the project, and the official checks say which exercises are solved.

Only the official check counts. It is loaded from the instructor's checkout before the student's
code runs, and its result does not pass through anything that is printed. So printing the check's
line, editing the check cells, or rebinding `checks`, `print` or the functions of
`lab_utils.lessons.checking` changes nothing.

The limits stop accidents, not attacks: a student's code runs as the user who grades, in the process
that runs the check, and can read files, use the network and change what the check calls. Grade
notebooks of people you do not trust in a container without a network.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab_authoring.grades import (
    PASSED,
    UNREADABLE,
    Result,
    student_of,
    sums,
    write_feedback,
    write_grades,
)
from lab_authoring.limited_process import Ending, GradingError, Limits, run_steps
from lab_authoring.submission import Submission, UnreadableNotebookError, read_submission
from lab_authoring.workplace import Workplace, workplace
from lab_utils.tables import TableError
from text_recognizer.places import PROJECT

if TYPE_CHECKING:
    from lab_authoring.source import Source

MAX_STARTS = 10
"""Processes that one notebook may use up."""
SET_UP = -1
"""The index of the official set-up cell, before a notebook's first."""


@dataclass(frozen=True)
class Course:
    """What is official: sources, the set-up, and the project that they run in, with the checks."""

    project: Path
    sources: tuple["Source", ...]
    set_up: str
    """The code of the set-up cell."""

    def checks(self, source: "Source") -> Path:
        """The file of a source's checks."""
        return self.project / "lab_utils" / "lessons" / source.module / "checks.py"


def lab_course() -> Course:
    """The course of this checkout."""
    from lab_authoring.source import read_source, source_paths
    from lab_utils.setup import setup_cell

    return Course(PROJECT, tuple(read_source(path) for path in source_paths()), setup_cell())


def grade_notebooks(
    paths: list[Path],
    out: Path,
    limits: Limits,
    progress: Callable[[str], None] = lambda line: None,
    course: Course | None = None,
    jobs: int = 1,
    feedback: Path | None = None,
) -> list[Result]:
    """Grades notebooks, writes the table again after each, and the feedback at the end.

    A file that is not a notebook gets one row with the result UNREADABLE, and the others are
    graded. Ctrl-C ends all processes; the rows of the notebooks before it are in the table.

    Args:
        out: the CSV file.
        progress: gets one line a notebook.
        jobs: notebooks at a time.
        feedback: a folder for a page for each student; None writes none.

    Returns the results in the order of the paths. Raises TableError if the table cannot be written,
    which is tried first, and GradingError if no process starts or the official set-up fails.
    """
    if out.suffix == ".ipynb":
        raise TableError(f"{out} would be a notebook: let --out end in .csv.")
    course = course or lab_course()
    write_grades(out, [])
    graded: dict[int, list[Result]] = {}

    def in_order() -> list[Result]:
        return [row for index in sorted(graded) for row in graded[index]]

    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        futures = {
            pool.submit(grade_notebook, path, course, limits, stop): index
            for index, path in enumerate(paths)
        }
        try:
            for future in as_completed(futures):
                index = futures[future]
                graded[index] = future.result()
                write_grades(out, in_order())
                progress(_summary(paths[index], graded[index]))
        finally:  # also at Ctrl-C: each thread ends its processes
            stop.set()
            pool.shutdown(cancel_futures=True)
    if feedback is not None:
        write_feedback(feedback, in_order())
    return in_order()


def grade_notebook(
    path: Path, course: Course, limits: Limits, stop: threading.Event
) -> list[Result]:
    """Grades one notebook: a result for each exercise of its source, in their order."""
    student = student_of(path, [source.name for source in course.sources])
    try:
        submission = read_submission(path)
    except UnreadableNotebookError as error:
        return [Result.of_none(student, path, UNREADABLE, _one_line(str(error)))]
    source = submission.source(course.sources)
    if source is None:
        message = "neither its metadata nor its name are those of one of the lab's notebooks"
        return [Result.of_none(student, path, "no source", message)]
    with workplace(course.project) as place:
        outcomes = _Run(submission, source, course, limits, stop).outcomes(place)
    return [
        Result(
            student=student,
            notebook=path,
            source=source.name,
            number=exercise.number,
            exercise=exercise.name,
            result=ending.result,
            points=exercise.points if ending.result == PASSED else 0,
            possible=exercise.points,
            message=_one_line(ending.message),
        )
        for exercise in source.exercises
        for ending in [outcomes[exercise.name]]
    ]


@dataclass(frozen=True)
class _Step:
    """A cell to run or, with a name, an exercise to check after it."""

    cell: int
    name: str = ""


class _Run:
    """The cells of one notebook, run in order, with the checks between them.

    A cell that the process does not survive is left out when those around it are run again in a new
    process.
    """

    def __init__(
        self,
        submission: Submission,
        source: "Source",
        course: Course,
        limits: Limits,
        stop: threading.Event,
    ) -> None:
        self._cells = submission.cells
        self._set_up = course.set_up
        self._checks = course.checks(source)
        self._limits = limits
        self._stop = stop
        names = [exercise.name for exercise in source.exercises]
        self._last = submission.last_definitions(names)
        self._left_out: set[int] = set()
        self._outcomes = {
            name: Ending("missing", f"no cell defines {name}")
            for name in names
            if name not in self._last
        }

    def outcomes(self, place: Workplace) -> dict[str, Ending]:
        """How each exercise ended, by its name."""
        deadline = time.monotonic() + self._limits.total_timeout
        over = Ending("not reached", f"the notebook's cells ended {MAX_STARTS} processes before")
        for _ in range(MAX_STARTS):
            steps = list(self._steps())
            if not steps:
                break
            ending = self._run(place, steps, deadline)
            if ending.result == "not reached":
                over = ending
                break
        return dict.fromkeys(self._last, over) | self._outcomes

    def _steps(self) -> Iterator[_Step]:
        """What is left to do, from the start; nothing if every exercise has its result."""
        undecided = {name: at for name, at in self._last.items() if name not in self._outcomes}
        for cell in range(SET_UP, max(undecided.values(), default=SET_UP - 1) + 1):
            if cell not in self._left_out:
                yield _Step(cell)
            yield from (_Step(cell, name) for name, at in undecided.items() if at == cell)

    def _run(self, place: Workplace, steps: list[_Step], deadline: float) -> Ending:
        """Runs steps in one process; returns how the last of them ended."""
        codes = [self._set_up, *self._cells]
        job = {
            "checks": str(self._checks),
            "steps": [
                {"name": step.name} if step.name else {"code": codes[step.cell + 1]}
                for step in steps
            ],
        }
        cell = ending = Ending("ok")
        with closing(run_steps(place, job, self._limits, deadline, self._stop)) as endings:
            for step, ending in zip(steps, endings, strict=False):
                if step.name:
                    self._outcomes[step.name] = _checked(step.name, cell, ending)
                else:
                    cell = ending
                    self._after_cell(step.cell, ending)
        return ending

    def _after_cell(self, index: int, ending: Ending) -> None:
        if index == SET_UP and ending.result not in ("ok", "not reached"):
            raise GradingError(
                f"The set-up cell fails here ({ending.message or ending.result}): see whether "
                "`python -m IPython --version` works, or give a larger --memory."
            )
        if not ending.alive and ending.result != "not reached":
            self._left_out.add(index)
            for name in [name for name, at in self._last.items() if at == index]:
                self._outcomes[name] = _explained(ending, "its cell")


def _checked(name: str, cell: Ending, ending: Ending) -> Ending:
    """How an exercise ended whose cell and whose check ended so."""
    if ending.result != "missing":
        return _explained(ending, "its check")
    how = f" stopped with {cell.message}" if cell.message else " ended"
    return Ending("failed", f"its cell{how} before {name} was defined")


def _explained(ending: Ending, what: str) -> Ending:
    """With `what` as the subject of the message if the ending is one of the limits."""
    if ending.result == "out of memory":
        return Ending(ending.result, f"{what} took too much memory: see --memory")
    if ending.result in ("timed out", "died"):
        return Ending(ending.result, f"{what} {ending.message}")
    return ending


def _one_line(text: str, most: int = 300) -> str:
    """Text without colours, line breaks and control characters, cut to `most` characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    plain = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def _summary(path: Path, rows: list[Result]) -> str:
    if rows[0].number is None:
        # The message of an unreadable file names it.
        return rows[0].message if rows[0].result == UNREADABLE else f"{path}: {rows[0].message}"
    points, possible = sums(rows)
    passed = sum(row.passed for row in rows)
    return f"{path}: {passed} of {len(rows)} passed, {points} of {possible} points"
