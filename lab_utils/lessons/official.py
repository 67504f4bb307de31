"""The official function of an exercise, taken from the notebook's source."""

import ast
import linecache
import re
from collections.abc import Callable

from lab_utils.lessons.checking import CheckFailed
from text_recognizer.places import PROJECT

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
"""The marks around a solution."""


def official_function(module: str, name: str) -> Callable:
    """The solution of the exercise `name` of a lesson. Raises CheckFailed if there is none."""
    imports = ""
    for path in (PROJECT / "notebooks" / "source").glob(f"[0-9][0-9]_{module}.py"):
        for cell in path.read_text(encoding="utf-8").split("\n# %%"):
            kind, _, code = cell.partition("\n")
            if f"\ndef {name}(" in f"\n{code}" and BEGIN in code:
                names: dict = {"__name__": f"lab_utils.lessons.{module}.official"}
                run_with_source(f"{imports}{code}", f"<official {name}>", names)
                return names[name]
            if "[markdown]" not in kind and BEGIN not in code:
                imports += imports_of(code)
    raise CheckFailed(f"There is no exercise {name!r} in this notebook: check the spelling.")


def run_with_source(text: str, file: str, names: dict) -> None:
    """Runs code so that its source is found, as IPython does: torch.jit.script and tracebacks
    read it.

    Args:
        file: a name for the text, in angle brackets.
        names: the namespace to run it in.
    """
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec", dont_inherit=True), names)


def without_magics(code: str) -> str:
    """Code of a cell with `pass` in place of `!command` and `%magic` lines."""
    return re.sub(r"^([ \t]*)[!%].*$", r"\1pass", code, flags=re.MULTILINE)


def imports_of(code: str) -> str:
    """The import statements at the top level of a cell's code, one a line; none of broken code."""
    try:
        statements = ast.parse(without_magics(code)).body
    except SyntaxError:
        return ""
    return "".join(
        f"{ast.unparse(statement)}\n"
        for statement in statements
        if isinstance(statement, ast.Import | ast.ImportFrom)
    )
