"""The rules for every source, so that notebooks are alike and each exercise can be checked.

Nothing is fixed here: each breach becomes one line that says where it is and how to fix it.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab_authoring.ast_names import free_names, imported_names, shared_imports, syntax_error
from lab_authoring.cells import Cell
from lab_utils.lessons.official import BEGIN, END, imports_of

YOUR_CODE = "...  # your code here"
SET_UP = "# The set-up cell: `lab notebooks build` fills it in."
TAGS = ("setup", "exercise", "check", "timing", "nbval-ignore-output", "raises-exception")
MARKS = re.compile(r"^Difficulty (?=[●○]{5} )(●+)○* · Importance (?=[●○]{5}$)(●+)○*$", re.MULTILINE)
MARKS_EXAMPLE = "Difficulty ●●○○○ · Importance ●●●●○"
MOST_LINES = 10
EXERCISES = range(3, 7)
GOALS = range(3, 7)
ENDING = ["Summary", "What to try next"]

Tell = Callable[[int, str], None]
"""Takes the line in the file and what to do there."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: the code of its cells in both versions."""

    number: int
    name: str
    """Of the function to write, and of its check."""
    title: str
    minutes: int
    solution: str
    """The cell's code without the marks."""
    stub: str
    """The student's cell: `...` in the solution's place."""
    check: str
    """`checks.NAME(NAME)`."""
    hint: str
    index: int
    """Of the cell to write in, among all cells of the notebook, from 0."""
    line: int
    """Of that cell in the source."""
    points: int
    """For a solution that passes the check: the marks of difficulty and importance, 2 to 10."""


def read_head(cells: list[Cell], tell: Tell) -> tuple[str, int, tuple[str, ...]] | None:
    """The first cell's title, minutes and goals; there is no other H1."""
    first = cells[0]
    titles = [(cell, i, title) for cell, i, level, title in headings(cells) if level == 1]
    if first.kind != "markdown" or not titles or titles[0][:2] != (first, 0):
        tell(first.line, "start the first cell, a markdown cell, with `# Title`")
        return None
    for cell, i, title in titles[1:]:
        tell(cell.line_of(i), f"write `## {title}`: a notebook has one H1")
    parts = re.fullmatch(
        r"# .+\n+\*\*Time:\*\* (\d+) minutes\n+(?:.*\n)*?\*\*You will learn\*\*\n+((?:.*\n?)*)",
        first.text,
    )
    if not parts:
        tell(
            first.line,
            "write, below the title, the lines `**Time:** 60 minutes` and `**You will learn**`, "
            "and 3 to 6 goals as a list with `- `",
        )
        return None
    items = re.split(r"^- ", parts[2].strip(), flags=re.MULTILINE)
    goals = tuple(" ".join(item.split()) for item in items[1:])
    if items[0] or len(goals) not in GOALS or not all(goals):
        tell(first.line, f"list 3 to 6 goals below `**You will learn**`, not {len(goals)}")
    return titles[0][2], int(parts[1]), goals


def check_set_up(cells: list[Cell], module: str, tell: Tell) -> None:
    """The second cell is the set-up cell; the first cell that imports has the checks."""
    second = cells[1] if len(cells) > 1 else cells[0]
    if second.kind != "code" or second.tags != ("setup",) or second.text != SET_UP:
        tell(second.line, f'make the second cell `# %% tags=["setup"]` with the line `{SET_UP}`')
    for cell in cells[2:]:
        if cell.has("setup"):
            tell(cell.line, "leave out the tag setup: only the second cell has it")
    wanted = f"from lab_utils.lessons.{module} import checks"
    importing = next((c for c in cells[1:] if c.kind == "code" and imports_of(c.text)), None)
    if importing is None or wanted not in importing.text.split("\n"):
        tell((importing or second).line, f"write `{wanted}` in the first cell that imports")


def check_cells(cells: list[Cell], tell: Tell) -> None:
    """Tags are known, code parses and is short, no cell is empty."""
    for cell in cells:
        unknown = [tag for tag in cell.tags if tag not in TAGS]
        if unknown:
            tell(cell.line, f"leave out the tag {', '.join(unknown)}: there are {', '.join(TAGS)}")
        if cell.kind not in ("markdown", "code"):
            tell(cell.line, f"make this a markdown or a code cell, not {cell.kind}")
        elif not cell.text.strip():
            tell(cell.line, "write something into this cell, or delete it")
        if cell.kind != "code":
            if cell.tags:
                tell(cell.line, "leave out the tags: they are for code cells")
            continue
        error = syntax_error(cell.text)
        if error:
            tell(cell.line_of((error.lineno or 1) - 1), f"fix the code: {error.msg}")
        code = [line for line in cell.text.split("\n") if line.strip() and line.strip()[0] != "#"]
        if len(code) > MOST_LINES and not cell.has("setup") and not cell.has("exercise"):
            tell(
                cell.line,
                f"shorten this cell from {len(code)} to at most {MOST_LINES} lines of code: "
                "move what is longer into a function of lab_utils",
            )


def check_functions(exercises: tuple[Exercise, ...], checks: Path, tell: Tell) -> None:
    """The lesson's module of checks has a function for each exercise."""
    try:
        code = ast.parse(checks.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        tell(1, f"write the checks in lab_utils/lessons/{checks.parent.name}/checks.py ({error})")
        return
    defined = {node.name for node in code.body if isinstance(node, ast.FunctionDef)}
    for exercise in exercises:
        if exercise.name not in defined:
            tell(
                exercise.line,
                f"write the check `{exercise.name}` in lab_utils/lessons/{checks.parent.name}/"
                "checks.py",
            )


def check_ending(cells: list[Cell], tell: Tell) -> None:
    """The last two sections are the summary and what to try next."""
    sections = [title for _, _, level, title in headings(cells) if level == 2]
    if sections[-2:] != ENDING:
        tell(cells[-1].line, "end with the sections `## Summary` and `## What to try next`")


def read_exercises(cells: list[Cell], tell: Tell) -> tuple[Exercise, ...]:
    """The exercises, in order; each is its text, its function, its check and its hint."""
    found: list[Exercise | None] = []
    inside: set[int] = set()
    for index, cell in enumerate(cells):
        starts = [
            (i, title)
            for _, i, level, title in headings([cell])
            if level == 3 and title.startswith("Exercise")
        ]
        for i, title in starts:
            parts = re.fullmatch(r"Exercise (\d+): (.+) \((\d+) minutes?\)", title)
            if i or not parts:
                tell(
                    cell.line_of(i),
                    "start a markdown cell with `### Exercise 1: Title (10 minutes)`",
                )
                continue
            if int(parts[1]) != len(found) + 1:
                tell(
                    cell.line_of(i),
                    f"number this exercise {len(found) + 1}, as `lab notebooks build` does",
                )
            block = cells[index + 1 : index + 4]
            inside.update(range(index + 1, index + 4))
            exercise = _read_block(cell, block, parts, cells[:index], index + 1, tell)
            # A broken block counts too, so that the next one's number is right.
            found.append(exercise)
    for index, cell in enumerate(cells):
        for tag in ("exercise", "check"):
            if cell.has(tag) and index not in inside:
                tell(
                    cell.line,
                    f"put the tag {tag} only on the cells that follow `### Exercise ...`",
                )
    if len(found) not in EXERCISES:
        tell(cells[0].line, f"set 3 to 6 exercises, not {len(found)}")
    names = [exercise.name for exercise in found if exercise]
    for exercise in found:
        if exercise and names.count(exercise.name) > 1:
            tell(exercise.line, f"give {exercise.name} another name: two exercises have it")
    return tuple(exercise for exercise in found if exercise)


def _read_block(
    text: Cell, block: list[Cell], parts: re.Match, earlier: list[Cell], index: int, tell: Tell
) -> Exercise | None:
    """The exercise whose text is followed by the cells of `block`; None where one is missing."""
    shape = [(cell.kind, cell.tags) for cell in block]
    if shape != [("code", ("exercise",)), ("code", ("check",)), ("markdown", ())]:
        tell(
            text.line,
            'let three cells follow this text: `# %% tags=["exercise"]`, `# %% tags=["check"]` '
            "and the hint in markdown",
        )
        return None
    marks = MARKS.search(text.text)
    if not marks:
        tell(text.line, f"write below the exercise's heading, from 1 to 5 each: `{MARKS_EXAMPLE}`")
    write, check, hint = block
    solution, stub = split_solution(write, tell)
    name = _function_name(write, tell)
    if name is None:
        return None
    if check.text != f"checks.{name}({name})":
        tell(check.line_of(0), f"write `checks.{name}({name})` and nothing else")
    folded = re.fullmatch(
        r"<details><summary>Hint</summary>\n\n(\S.*\S)\n\n</details>", hint.text, re.DOTALL
    )
    if not folded:
        tell(
            hint.line_of(0),
            "write the hint as `<details><summary>Hint</summary>`, an empty line, the text, "
            "an empty line, `</details>`",
        )
    known = imported_names("".join(shared_imports(earlier)))
    for missing in sorted(free_names(solution) - known):
        tell(
            write.line,
            f"let {name} do without `{missing}`, or import it above, outside the other exercises: "
            "an exercise uses only its arguments, builtins and imports",
        )
    return Exercise(
        number=int(parts[1]),
        name=name,
        title=parts[2],
        minutes=int(parts[3]),
        solution=solution,
        stub=stub,
        check=check.text,
        hint=folded[1] if folded else "",
        index=index,
        line=write.line,
        points=len(marks[1] + marks[2]) if marks else 0,
    )


def _function_name(cell: Cell, tell: Tell) -> str | None:
    """The name of the one function of an exercise's cell."""
    if syntax_error(cell.text):  # check_cells reports it
        return None
    statements = ast.parse(cell.text).body
    *above, last = statements or [None]
    if not isinstance(last, ast.FunctionDef) or not all(
        isinstance(statement, ast.Import | ast.ImportFrom) for statement in above
    ):
        tell(cell.line, "define exactly one function here; only imports may come before it")
        return None
    line = cell.line_of(last.lineno - 1)
    if not ast.get_docstring(last):
        tell(line, f"give {last.name} a docstring: what it gets and what it returns")
    arguments = last.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one]
    if last.returns is None or any(argument.annotation is None for argument in every):
        tell(line, f"give every argument of {last.name} and its result a type")
    return last.name


def split_solution(cell: Cell, tell: Tell) -> tuple[str, str]:
    """The code of an exercise's cell in its two versions: the solution, and the student's stub."""
    lines = cell.text.split("\n")
    marks = [i for i, line in enumerate(lines) if line.strip() in (BEGIN, END)]
    if [lines[i].strip() for i in marks] != [BEGIN, END]:
        tell(
            cell.line_of(marks[0] if marks else 0),
            f"put the solution between one line `{BEGIN}` and one line `{END}`",
        )
        return cell.text, cell.text
    begin, end = marks
    indent = lines[begin][: -len(BEGIN)]
    if not indent or lines[end] != indent + END:
        tell(cell.line_of(end), f"indent `{BEGIN}` and `{END}` as the function's body")
    if not any(line.strip() for line in lines[begin + 1 : end]):
        tell(cell.line_of(begin), "write the solution between the marks")
    solution = "\n".join(lines[:begin] + lines[begin + 1 : end] + lines[end + 1 :])
    stub = "\n".join([*lines[:begin], indent + YOUR_CODE, *lines[end + 1 :]])
    wrong = next(filter(None, map(syntax_error, (solution, stub))), None)
    if wrong and not syntax_error(cell.text):
        tell(cell.line_of(begin), f"place the marks so that both versions parse ({wrong.msg})")
    return solution, stub


def headings(cells: list[Cell]) -> Iterator[tuple[Cell, int, int, str]]:
    """The headings of markdown cells, outside fences: cell, line in it from 0, level, title."""
    for cell in cells:
        fenced = False
        for i, line in enumerate(cell.text.split("\n") if cell.kind == "markdown" else []):
            if line.startswith(("```", "~~~")):
                fenced = not fenced
            mark = re.match(r"(#{1,6}) +(.*?) *$", line)
            if mark and not fenced:
                yield cell, i, len(mark[1]), mark[2]
