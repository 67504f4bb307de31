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

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
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
from lab_authoring.limited_process import Ending, GradingError, LimitedProcess
from lab_authoring.student_process import end_with
from lab_authoring.submission import Submission, UnreadableNotebookError, read_submission
from lab_authoring.workplace import workplace
from lab_utils.tables import TableError
from text_recognizer.places import PROJECT

if TYPE_CHECKING:
    from lab_authoring.source import Source

MAX_STARTS = 10
"""Processes that one notebook may use up."""


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

    for index, rows, seconds in _graded(paths, course, limits, jobs):
        graded[index] = rows
        write_grades(out, in_order())
        progress(_summary(paths[index], rows, seconds))
    if feedback is not None:
        write_feedback(feedback, in_order())
    return in_order()


def _graded(
    paths: list[Path], course: Course, limits: Limits, jobs: int
) -> Iterator[tuple[int, list[Result], float]]:
    """The index of each path, its results and its seconds, as they come."""
    if jobs == 1 or len(paths) == 1:
        for index, path in enumerate(paths):
            yield index, *_timed(path, course, limits)
        return
    # Processes, not threads: each adopts and ends the orphans of its own notebook.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(paths)), context, _begin_worker, (os.getpid(),)) as pool:
        futures = {
            pool.submit(_timed, path, course, limits): index for index, path in enumerate(paths)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], *future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _begin_worker(parent: int) -> None:
    """Only the parent reacts to Ctrl-C: it ends its workers by SIGTERM, and each cleans up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt_once)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def _interrupt_once(*_: object) -> None:
    # The pool sends SIGTERM again when another worker has ended: it must not stop the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _timed(path: Path, course: Course, limits: Limits) -> tuple[list[Result], float]:
    start = time.monotonic()
    return grade_notebook(path, course, limits), time.monotonic() - start


def grade_notebook(path: Path, course: Course, limits: Limits) -> list[Result]:
    """Grades one notebook: a result for each exercise of its source, in their order."""
    student = student_of(path, [source.name for source in course.sources])
    try:
        submission = read_submission(path)
    except UnreadableNotebookError as error:
        return [_no_result(student, path, UNREADABLE, _one_line(str(error)))]
    source = submission.source(course.sources)
    if source is None:
        message = "neither its name nor its functions are those of one of the lab's notebooks"
        return [_no_result(student, path, "no source", message)]
    outcomes = _grade(submission, source, course, limits)
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
            seconds=seconds,
        )
        for exercise in source.exercises
        for ending, seconds in [outcomes[exercise.name]]
    ]


def _no_result(student: str, path: Path, result: str, message: str) -> Result:
    return Result(student, path, "", None, "", result, 0, 0, message, 0.0)


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


def _summary(path: Path, rows: list[Result], seconds: float) -> str:
    if rows[0].number is None:
        # The message of an unreadable file names it.
        return rows[0].message if rows[0].result == UNREADABLE else f"{path}: {rows[0].message}"
    passed = sum(row.passed for row in rows)
    points, possible = sums(rows)
    return (
        f"{path}: {passed} of {len(rows)} passed, {points} of {possible} points ({seconds:.0f} s)"
    )
