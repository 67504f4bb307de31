"""`lab notebooks`: build notebooks from their sources, check them, start one, grade students."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="notebooks",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, check, start and grade notebooks.",
)


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Numbers or names. Default: all.")
    ] = None,
) -> None:
    """Make both notebooks of each source: the student's, and the solution with its outputs.

    Exercises are numbered in their order first, in the source.

    Example: lab notebooks build 01
    """
    from tqdm import tqdm

    from lab_authoring.build import build, find_sources, read_sources, renumber
    from lab_authoring.source import SOURCES

    paths = find_sources(names or [], SOURCES)
    for path in paths:
        renumber(path)
    for source in read_sources(paths):
        start = time.perf_counter()
        cells = sum(cell.kind == "code" for cell in source.cells)
        with tqdm(total=cells, desc=source.name, unit="cell", leave=False, disable=None) as bar:
            size = build(source, on_cell=lambda _, bar=bar: bar.update())
        seconds = time.perf_counter() - start
        _progress(f"{source.name}: {cells} cells in {seconds:.1f} s, {size / 1e3:.0f} kB")


@app.command()
def check() -> None:
    """List generated notebooks that differ from their source; run nothing."""
    from lab_authoring.cells import SourceError
    from lab_authoring.freshness import check_notebooks
    from lab_authoring.source import SOURCES

    if problems := check_notebooks(SOURCES):
        raise SourceError(problems)


@app.command()
def mutate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Numbers or names. Default: all.")
    ] = None,
) -> None:
    """List small changes to the official solutions that the checks fail to reject.

    Exit code 1 if fewer than 95 % of a notebook's mutants are rejected.

    Example: lab notebooks mutate 01
    """
    from tqdm import tqdm

    from lab_authoring.build import find_sources, read_sources
    from lab_authoring.mutate import LEAST_REJECTED, score
    from lab_authoring.source import SOURCES

    weak = False
    for source in read_sources(find_sources(names or [], SOURCES)):
        with tqdm(desc=source.name, unit="mutant", leave=False, disable=None) as bar:
            found = score(source, on_mutant=lambda _, bar=bar: bar.update())
        for mutant in found.survivors:
            print(f"{source.name}: {mutant.exercise.name}: {mutant.change}")
        print(
            f"{source.name}: {found.rejected:.1%} of {found.mutants - found.equivalent} mutants "
            f"rejected; {found.equivalent} more behave like the solution"
        )
        weak = weak or found.rejected < LEAST_REJECTED
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
    from lab_authoring.grade import Limits, grade_notebooks
    from lab_authoring.grades import UNREADABLE

    limits = Limits(cell_timeout, timeout, memory)
    results = grade_notebooks(notebooks, out, limits, _progress, jobs=jobs, feedback=feedback)
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


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
