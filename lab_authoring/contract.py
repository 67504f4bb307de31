"""The cells of a py:percent source, and the rules for every source, so that notebooks are alike and
each exercise can be checked.

Nothing is fixed here: each breach becomes one line that says where it is and how to fix it.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab_utils.lessons.official import BEGIN, END, without_magics
from text_recognizer.errors import RecognizerError

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---
"""

CELL_MARK = re.compile(r"# %%(\s|$)")
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


class SourceError(RecognizerError):
    """A source breaks the contract: `problems` has one line `FILE:LINE: what to do` each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Cell:
    """A cell as the source has it; `line` is the number of its `# %%` line, from 1."""

    kind: str
    """"markdown" or "code"."""
    text: str
    tags: tuple[str, ...]
    line: int

    def line_of(self, index: int) -> int:
        """The line in the file of the cell's text line `index`, from 0."""
        return self.line + 1 + index


def read_cells(path: Path, shown: str) -> list[Cell]:
    """The cells of a source. Raises SourceError, which names the file as `shown`."""
    try:
        import jupytext
    except ImportError:
        raise RecognizerError(
            "jupytext is missing: run `pip install --editable '.[teach]'` in the project."
        ) from None
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = enumerate(text.split("\n"), start=1)
    marks = [number for number, line in lines if CELL_MARK.match(line)]
    found = jupytext.reads(text, fmt="py:percent").cells if text.startswith(HEADER) else []
    if not found or len(found) != len(marks):
        # jupytext knows more marks, and knows when one is inside a string.
        start = "start with the header of the other sources, from `# ---` to `# ---`, then each "
        raise SourceError([f"{shown}:1: {start}cell, and no line of a string, with `# %%`"])
    return [
        Cell(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", ())), line)
        for cell, line in zip(found, marks, strict=True)
    ]


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
        if cell.kind == "markdown":
            for index, line in enumerate(cell.text.split("\n")):
                if len(re.findall(r"(?<![\\`])\$", re.sub(r"`[^`]*`", "", line))) > 1:
                    tell(cell.line_of(index), "write \\$ for a dollar sign: a pair makes a formula")
            continue
        try:
            ast.parse(without_magics(cell.text))
        except SyntaxError as error:
            tell(cell.line_of((error.lineno or 1) - 1), f"fix the code: {error.msg}")
        code = [line for line in cell.text.split("\n") if line.strip() and line.strip()[0] != "#"]
        if len(code) > MOST_LINES and "exercise" not in cell.tags:
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
    code = checks.read_text(encoding="utf-8") if checks.is_file() else ""
    for exercise in exercises:
        if f"\ndef {exercise.name}(" not in code:
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
        elif {"exercise", "check"} & set(cell.tags) and index not in inside:
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
    points = len(marks[1] + marks[2]) if marks else 0
    exercise = Exercise(number, f"exercise {number}", minutes, "", "", index, text.line, points)
    shape = [("code", ("exercise",)), ("code", ("check",)), ("markdown", ())]
    if [(cell.kind, cell.tags) for cell in block] == shape:
        write, check, hint = block
        solution, stub = _split_solution(write, tell)
        name = _function_name(write, tell)
        exercise = Exercise(number, name, minutes, solution, stub, index + 1, write.line, points)
        if check.text == exercise.check and HINT.fullmatch(hint.text):
            return exercise
    tell(
        text.line,
        'let three cells follow this text: the function (`# %% tags=["exercise"]`), '
        '`checks.NAME(NAME)` and nothing else (`# %% tags=["check"]`), and in markdown the hint: '
        "`<details><summary>Hint</summary>`, an empty line, the text, an empty line, `</details>`",
    )
    return exercise


def _function_name(cell: Cell, tell: Tell) -> str:
    """The name of the one function of an exercise's cell."""
    try:
        *above, last = ast.parse(cell.text).body
    except (SyntaxError, ValueError):  # broken, or empty
        above, last = [], None
    if not isinstance(last, ast.FunctionDef) or not all(
        isinstance(statement, ast.Import | ast.ImportFrom) for statement in above
    ):
        tell(cell.line, "define exactly one function here; only imports may come before it")
        return ""
    arguments = [node for node in ast.walk(last.args) if isinstance(node, ast.arg)]
    typed = last.returns and all(argument.annotation for argument in arguments)
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


def headings(cells: list[Cell]) -> list[tuple[int, str]]:
    """The level and the title of each heading of markdown cells."""
    text = "\n".join(cell.text for cell in cells if cell.kind == "markdown")
    return [(len(m[1]), m[2]) for m in re.finditer(r"^(#{1,6}) +(.*?) *$", text, re.MULTILINE)]
