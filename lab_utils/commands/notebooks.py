"""`lab notebooks`: build notebooks from their sources, check them, start one, grade students."""

import time
from pathlib import Path
from typing import Annotated

import typer

from lab_tracker.wording import counted
from lab_utils.commands.options import group, say

app = group("Build, check, start and grade notebooks.")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Numbers or names. Default: all.")
]


@app.command()
def build(names: Names = None) -> None:
    """Make both notebooks of each source: the student's, and the solution with its outputs.

    Exercises are numbered in their order first, in the source.

    Example: lab notebooks build 01
    """
    from tqdm import tqdm

    from lab_authoring.build import build, find_sources, renumber
    from lab_authoring.source import SOURCES, read_source

    paths = find_sources(names or [], SOURCES)
    for path in paths:
        renumber(path)
    for source in [read_source(path) for path in paths]:
        start = time.perf_counter()
        cells = sum(cell.kind == "code" for cell in source.cells)
        with tqdm(total=cells, desc=source.name, unit="cell", leave=False, disable=None) as bar:
            size = build(source, on_cell=lambda _, bar=bar: bar.update())
        seconds = time.perf_counter() - start
        say(f"{source.name}: {counted(cells, 'cell')} in {seconds:.1f} s, {size / 1e3:.0f} kB")


@app.command()
def check() -> None:
    """List generated notebooks that differ from their source, and phrases that aren't plain
    English; run nothing.
    """
    from lab_authoring.build import check_notebooks
    from lab_authoring.contract import SourceError
    from lab_authoring.source import SOURCES

    if problems := check_notebooks(SOURCES):
        raise SourceError(problems)


@app.command()
def mutate(names: Names = None) -> None:
    """List small changes to the official solutions that the checks fail to reject.

    Exit code 1 if fewer than 95 % of a notebook's mutants are rejected.

    Example: lab notebooks mutate 01
    """
    from tqdm import tqdm

    from lab_authoring.build import find_sources
    from lab_authoring.mutate import LEAST_REJECTED, different_mutants, survives
    from lab_authoring.source import SOURCES, read_source

    weak = False
    for source in map(read_source, find_sources(names or [], SOURCES)):
        found = different_mutants(source)
        with tqdm(found, desc=source.name, unit="mutant", leave=False, disable=None) as bar:
            survivors = [mutant for mutant in bar if survives(source, mutant)]
        for mutant in survivors:
            print(f"{source.name}: {mutant.exercise.name}: {mutant.change}")
        rejected = 1 - len(survivors) / len(found)
        print(f"{source.name}: {rejected:.1%} of {len(found)} mutants rejected")
        weak = weak or rejected < LEAST_REJECTED
    if weak:
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Two digits and a module's name: 08_two_words.")],
    title: Annotated[
        str | None, typer.Option(help="The heading. Default: made from the name.")
    ] = None,
) -> None:
    """Start a notebook: a source, its checks, and right and wrong answers, ready to build.

    Example: lab notebooks new 08_two_words --title "Two words"
    """
    from lab_authoring.template import new_notebook
    from text_recognizer.places import PROJECT

    for path in new_notebook(name, title, PROJECT):
        print(path.relative_to(PROJECT))


@app.command()
def grade(
    notebooks: Annotated[
        list[Path], typer.Argument(metavar="STUDENT.ipynb", help="Students' notebooks.")
    ],
    out: Annotated[Path, typer.Option(help="The table to write (CSV).")] = Path("grades.csv"),
    cell_timeout: Annotated[float, typer.Option(min=1, help="Seconds for each cell.")] = 60.0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each notebook.")] = 600.0,
    memory: Annotated[int, typer.Option(min=1, help="MiB of memory for each notebook.")] = 4096,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks to run at a time.")] = 2,
    feedback: Annotated[
        Path | None, typer.Option(help="A folder for a page of feedback for each student.")
    ] = None,
) -> None:
    """Run students' notebooks within limits; write a table of the points, with totals by student.

    Each runs in its own process; an error in one does not stop the others. If a file is not a
    notebook, the exit code is 2.

    Example: lab notebooks grade handed_in/one.ipynb handed_in/two.ipynb --out grades.csv
    """
    from lab_authoring.grade import grade_notebooks
    from lab_authoring.grades import UNREADABLE
    from lab_authoring.workplace import Limits

    limits = Limits(cell_timeout, timeout, memory)
    results = grade_notebooks(notebooks, out, limits, say, jobs=jobs, feedback=feedback)
    print(out)
    if any(result.result == UNREADABLE for result in results):
        raise typer.Exit(2)


def publish(
    repository: Annotated[str, typer.Option(help="https://github.com/OWNER/NAME.")],
    tag: Annotated[str, typer.Option(help="v and the version: v1.2.3.")],
) -> None:
    """Set the repository and the tag that badges and set-up cells lead to.

    Rewrites pyproject.toml, the README and the notebooks, and prints their names. Commit them, then
    make the tag.

    Example: lab publish --repository https://github.com/ada/lab --tag v0.2.0
    """
    from lab_authoring.publish import publish as rewrite
    from text_recognizer.places import PROJECT

    for path in rewrite(repository, tag):
        print(path.relative_to(PROJECT))
