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

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from lab_authoring.grades import (
    PASSED,
    UNREADABLE,
    Result,
    student_of,
    sums,
    write_feedback,
    write_grades,
)
from lab_authoring.source import Source, read_source, source_paths
from lab_authoring.submission import UnreadableNotebookError, last_definitions, read_submission
from lab_authoring.workplace import Ending, Limits, run_steps, workplace
from lab_utils.setup import setup_cell
from lab_utils.tables import one_line
from text_recognizer.errors import RecognizerError
from text_recognizer.places import PROJECT

MAX_STARTS = 10
"""Processes that one notebook may use up."""


@dataclass(frozen=True)
class Course:
    """What is official: sources, the set-up, and the project that they run in, with the checks."""

    project: Path
    sources: tuple[Source, ...]
    set_up: str
    """The code of the set-up cell."""


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
        course: None for that of this checkout.
        jobs: notebooks at a time.
        feedback: a folder for a page for each student; None writes none.

    Returns the results in the order of the paths. Raises RecognizerError if the table cannot be
    written, which is tried first, if no process starts, or if the official set-up fails.
    """
    if out.suffix == ".ipynb":
        raise RecognizerError(f"{out} would be a notebook: let --out end in .csv.")
    course = course or Course(PROJECT, tuple(map(read_source, source_paths())), setup_cell())
    write_grades(out, [])
    graded: dict[int, list[Result]] = {}

    def in_order() -> list[Result]:
        return [row for index in sorted(graded) for row in graded[index]]

    async def grade_all() -> None:
        places = asyncio.Semaphore(jobs)

        async def grade_one(index: int, path: Path) -> None:
            async with places:
                graded[index] = await grade_notebook(path, course, limits)
            write_grades(out, in_order())
            progress(_summary(path, graded[index]))

        await asyncio.gather(*(grade_one(*one) for one in enumerate(paths)))

    asyncio.run(grade_all())
    if feedback is not None:
        write_feedback(feedback, in_order())
    return in_order()


async def grade_notebook(path: Path, course: Course, limits: Limits) -> list[Result]:
    """Grades one notebook: a result for each exercise of its source, in their order."""
    student = student_of(path, [source.name for source in course.sources])
    try:
        source, cells = read_submission(path, course.sources)
    except UnreadableNotebookError as error:
        message = one_line(error)
        return [Result(student=student, notebook=path, result=UNREADABLE, message=message)]
    outcomes = await _outcomes(cells, source, course, limits)
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
            message=one_line(ending.message),
        )
        for exercise in source.exercises
        for ending in [outcomes[exercise.name]]
    ]


async def _outcomes(
    texts: list[str], source: Source, course: Course, limits: Limits
) -> dict[str, Ending]:
    """How each exercise of a notebook ended, by its name.

    The cells run in order, with the checks between them. A cell that its process does not survive
    is left out, and the ones around it run again in a new process.
    """
    texts = [course.set_up, *texts]
    cells = dict(enumerate(texts))
    names = [exercise.name for exercise in source.exercises]
    last = last_definitions(texts, names)
    outcomes = {
        name: Ending("missing", f"no cell defines {name}") for name in names if name not in last
    }
    checks = course.project / "lab_utils" / "lessons" / source.module / "checks.py"
    deadline = time.monotonic() + limits.total_timeout
    with workplace(course.project) as root:
        for _ in range(MAX_STARTS):
            todo = {name: at for name, at in last.items() if name not in outcomes}
            if not todo:
                break
            job = {"checks": str(checks), "steps": _steps(cells, todo)}
            async with aclosing(run_steps(root, job, limits, deadline)) as endings:
                async for step, ending in endings:
                    if ending.result == "not reached":
                        return dict.fromkeys(todo, ending) | outcomes
                    if "name" in step:
                        outcomes[step["name"]] = ending
                        continue
                    if (at := step["cell"]) == 0 and ending.result != "ok":
                        raise RecognizerError(
                            f"The set-up cell fails here ({ending.message}): see whether "
                            "`python -m IPython --version` works, or give a larger --memory."
                        )
                    if not ending.alive:
                        del cells[at]
                        outcomes |= {name: ending for name in todo if last[name] == at}
    over = Ending("not reached", f"the notebook's cells ended {MAX_STARTS} processes before")
    return dict.fromkeys(names, over) | outcomes


def _steps(cells: dict[int, str], todo: dict[str, int]) -> list[dict]:
    """The cells up to the last to check, each followed by the checks of what it defines."""
    steps = []
    for at in sorted(cells):
        if at <= max(todo.values()):
            steps.append({"cell": at, "code": cells[at]})
            steps += [{"name": name} for name, where in todo.items() if where == at]
    return steps


def _summary(path: Path, rows: list[Result]) -> str:
    if rows[0].result == UNREADABLE:
        return rows[0].message  # it names the file
    points, possible = sums(rows)
    passed = sum(row.result == PASSED for row in rows)
    return f"{path}: {passed} of {len(rows)} passed, {points} of {possible} points"
