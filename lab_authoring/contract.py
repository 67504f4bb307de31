"""The rules for every source, so that notebooks are alike and each exercise can be checked.

Nothing is fixed here: each breach becomes one line that says where it is and how to fix it.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_authoring.cells import Cell
from lab_utils.lessons.official import BEGIN, END, without_magics

YOUR_CODE = "...  # your code here"
SET_UP = "# The set-up cell: `lab notebooks build` fills it in."
TAGS = ("setup", "exercise", "check", "timing", "nbval-ignore-output", "raises-exception")
HEAD = re.compile(
    r"# (?P<title>.+)\n+\*\*Time:\*\* (?P<minutes>\d+) minutes\n+(?:.*\n)*?"
    r"\*\*You will learn\*\*\n+(?P<goals>- (?:.*\n?)*)"
)
TITLE = re.compile(r"### Exercise \d+: .+ \((\d+) minutes?\)$", re.MULTILINE)
MARKS = re.compile(r"^Difficulty (?=[●○]{5} )(●+)○* · Importance (?=[●○]{5}$)(●+)○*$", re.MULTILINE)
HINT = re.compile(r"<details><summary>Hint</summary>\n\n\S.*\S\n\n</details>", re.DOTALL)
MOST_LINES = 10
SOME = range(3, 7)
"""How many goals and how many exercises a notebook has."""
ENDING = ["Summary", "What to try next"]

Tell = Callable[[int, str], None]
"""Takes the line in the file and what to do there."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: the code of its cells in both versions."""

    number: int
    name: str
    """Of the function to write, and of its check."""
    minutes: int
    solution: str
    """The cell's code without the marks."""
    stub: str
    """The student's cell: `...` in the solution's place."""
    index: int
    """Of the cell to write in, among all cells of the notebook, from 0."""
    line: int
    """Of that cell in the source."""
    points: int
    """For a solution that passes the check: the marks of difficulty and importance, 2 to 10."""

    @property
    def check(self) -> str:
        """The code of the cell that checks it."""
        return f"checks.{self.name}({self.name})"


def read_head(cells: list[Cell], tell: Tell) -> tuple[str, int]:
    """The first cell's title and minutes; it lists the goals as well."""
    first = cells[0]
    parts = HEAD.fullmatch(first.text)
    goals = len(re.findall(r"^- ", parts["goals"], re.MULTILINE)) if parts else 0
    if first.kind != "markdown" or goals not in SOME:
        tell(
            first.line,
            "let the first cell, a markdown cell, have `# Title`, `**Time:** 60 minutes`, "
            "`**You will learn**` and 3 to 6 goals as a list with `- `",
        )
    return (parts["title"], int(parts["minutes"])) if parts else ("", 0)


def check_cells(cells: list[Cell], tell: Tell) -> None:
    """The second cell is the set-up; tags are known, code parses and is short, the end is right."""
    second = cells[min(1, len(cells) - 1)]
    if second.kind != "code" or second.tags != ("setup",) or second.text != SET_UP:
        tell(second.line, f'make the second cell `# %% tags=["setup"]` with the line `{SET_UP}`')
    for cell in cells:
        unknown = [tag for tag in cell.tags if tag not in TAGS]
        if unknown:
            tell(cell.line, f"leave out the tag {', '.join(unknown)}: there are {', '.join(TAGS)}")
        if cell.kind != "code":
            continue
        if error := syntax_error(cell.text):
            tell(cell.line_of((error.lineno or 1) - 1), f"fix the code: {error.msg}")
        code = [line for line in cell.text.split("\n") if line.strip() and line.strip()[0] != "#"]
        if len(code) > MOST_LINES and not cell.has("exercise"):
            tell(
                cell.line,
                f"shorten this cell from {len(code)} to at most {MOST_LINES} lines of code: "
                "move what is longer into a function of lab_utils",
            )
    sections = [title for level, title in headings(cells) if level == 2]
    if sections[-2:] != ENDING:
        tell(cells[-1].line, "end with the sections `## Summary` and `## What to try next`")


def check_functions(exercises: tuple[Exercise, ...], checks: Path, tell: Tell) -> None:
    """The lesson's module of checks has a function for each exercise."""
    shown = f"lab_utils/lessons/{checks.parent.name}/checks.py"
    try:
        code = ast.parse(checks.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        tell(1, f"write the checks in {shown} ({error})")
        return
    defined = {node.name for node in code.body if isinstance(node, ast.FunctionDef)}
    for exercise in exercises:
        if exercise.name not in defined:
            tell(exercise.line, f"write the check `{exercise.name}` in {shown}")


def read_exercises(cells: list[Cell], tell: Tell) -> tuple[Exercise, ...]:
    """The exercises, in order; each is its text, its function, its check and its hint."""
    found: list[Exercise] = []
    inside: set[int] = set()
    for index, cell in enumerate(cells):
        title = TITLE.match(cell.text) if cell.kind == "markdown" else None
        if title:
            inside.update(range(index + 1, index + 4))
            exercise = _read_block(cells, index, len(found) + 1, int(title[1]), tell)
            if exercise.name in [one.name for one in found]:
                tell(exercise.line, f"give {exercise.name} another name: two exercises have it")
            found.append(exercise)
        elif (cell.has("exercise") or cell.has("check")) and index not in inside:
            tell(
                cell.line,
                "put this tag only on cells that follow `### Exercise 1: Title (10 minutes)`",
            )
    if len(found) not in SOME:
        tell(cells[0].line, f"set 3 to 6 exercises, not {len(found)}")
    return tuple(found)


def _read_block(cells: list[Cell], index: int, number: int, minutes: int, tell: Tell) -> Exercise:
    """The exercise whose text is the cell at `index`."""
    text, block = cells[index], cells[index + 1 : index + 4]
    marks = MARKS.search(text.text)
    if not marks:
        tell(text.line, "write below the heading: `Difficulty ●●○○○ · Importance ●●●●○`")
    if [(cell.kind, cell.tags) for cell in block] != [
        ("code", ("exercise",)),
        ("code", ("check",)),
        ("markdown", ()),
    ]:
        tell(
            text.line,
            'let three cells follow this text: `# %% tags=["exercise"]`, `# %% tags=["check"]` '
            "and the hint in markdown",
        )
        return Exercise(number, f"exercise {number}", minutes, "", "", index, text.line, 0)
    write, check, hint = block
    solution, stub = _split_solution(write, tell)
    points = len(marks[1] + marks[2]) if marks else 0
    name = _function_name(write, tell)
    exercise = Exercise(number, name, minutes, solution, stub, index + 1, write.line, points)
    if check.text != exercise.check:
        tell(check.line_of(0), f"write `{exercise.check}` and nothing else")
    if not HINT.fullmatch(hint.text):
        tell(
            hint.line_of(0),
            "write the hint as `<details><summary>Hint</summary>`, an empty line, the text, "
            "an empty line, `</details>`",
        )
    return exercise


def _function_name(cell: Cell, tell: Tell) -> str:
    """The name of the one function of an exercise's cell."""
    statements = [] if syntax_error(cell.text) else ast.parse(cell.text).body
    *above, last = statements or [None]
    if not isinstance(last, ast.FunctionDef) or not all(
        isinstance(statement, ast.Import | ast.ImportFrom) for statement in above
    ):
        tell(cell.line, "define exactly one function here; only imports may come before it")
        return ""
    arguments = last.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one]
    typed = last.returns and all(argument.annotation for argument in every)
    if not typed or not ast.get_docstring(last):
        tell(
            cell.line_of(last.lineno - 1),
            f"give {last.name} a docstring, and a type for every argument and the result",
        )
    return last.name


def _split_solution(cell: Cell, tell: Tell) -> tuple[str, str]:
    """The code of an exercise's cell in its two versions: the solution, and the student's stub."""
    parts = re.fullmatch(
        rf"(?P<head>(?:.*\n)+)(?P<indent> +){BEGIN}\n(?P<body>(?:.*\n)*?.*\S.*\n)(?P=indent){END}",
        cell.text,
    )
    if not parts or cell.text.count(BEGIN) != 1:
        tell(
            cell.line,
            f"end the function with a line `{BEGIN}`, the solution, and a line `{END}`, indented "
            "as its body",
        )
        return cell.text, cell.text
    solution = parts["head"] + parts["body"].rstrip("\n")
    return solution, parts["head"] + parts["indent"] + YOUR_CODE


def syntax_error(code: str) -> SyntaxError | None:
    """Why the code of a cell does not parse, if so."""
    try:
        ast.parse(without_magics(code))
    except SyntaxError as error:
        return error
    return None


def headings(cells: list[Cell]) -> Iterator[tuple[int, str]]:
    """The level and the title of each heading of markdown cells, outside fences."""
    for cell in cells:
        fenced = False
        for line in cell.text.split("\n") if cell.kind == "markdown" else []:
            if line.startswith(("```", "~~~")):
                fenced = not fenced
            mark = re.match(r"(#{1,6}) +(.*?) *$", line)
            if mark and not fenced:
                yield len(mark[1]), mark[2]
