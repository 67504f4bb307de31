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
    paths = sorted((PROJECT / "notebooks" / "source").glob(f"[0-9][0-9]_{module}.py"))
    cells = paths[0].read_text(encoding="utf-8").split("\n# %%") if paths else []
    for cell in cells:
        code = "\n".join(cell.split("\n")[1:])
        if f"\ndef {name}(" in f"\n{code}" and BEGIN in code:
            text = f"{_imports(cells, code)}\n{code}"
            file = f"<official {name}>"
            # As IPython does: torch.jit.script reads a function's text.
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            names: dict = {"__name__": f"lab_utils.lessons.{module}.official"}
            exec(compile(text, file, "exec"), names)
            return names[name]
    raise CheckFailed(f"There is no exercise {name!r} in this notebook: look at its spelling.")


def _imports(cells: list[str], code: str) -> str:
    """The import statements of the code cells that bind a name which `code` uses."""
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    found = []
    for cell in cells:
        kind, _, text = cell.partition("\n")
        if "[markdown]" in kind or BEGIN in text or not text.strip():
            continue
        code = re.sub(r"^( *)[!%].*$", r"\1pass", text, flags=re.MULTILINE)
        try:
            statements = ast.parse(code).body
        except SyntaxError:
            continue
        found += [
            ast.unparse(one)
            for one in statements
            if isinstance(one, ast.Import | ast.ImportFrom)
            and used & {(a.asname or a.name).split(".")[0] for a in one.names}
        ]
    return "\n".join(found)
