"""A student's notebook as grading sees it: which source it is of, its code cells, what they define.

It may hold anything: code that does not parse, magics, files that are no notebook at all.
"""

import ast
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from lab_authoring.source import Source

MAX_BYTES = 20 * 2**20
MAX_PARSED = 200_000
"""Characters; a longer cell is run as it is, and searched for `def` without being parsed."""
DOWNLOAD_IT = "download it again with File > Download > Download .ipynb"


class UnreadableNotebookError(RecognizerError):
    """The file is no notebook that can be graded, and the message says why."""


@dataclass(frozen=True)
class CodeCell:
    """A code cell without the calls of `checks`, which grading makes itself."""

    code: str
    defines: frozenset[str]
    """Top-level names bound by `def`, `class`, `import` or a lambda."""
    binds: frozenset[str]
    """Top-level names bound by any other assignment."""


@dataclass(frozen=True)
class Submission:
    """What was handed in; the set-up cell is left out."""

    path: Path
    cells: tuple[CodeCell, ...]
    source_name: str
    """As the notebook's own metadata have it; empty if they have none."""

    def source(self, sources: Iterable["Source"]) -> "Source | None":
        """Its source: by metadata, else by a source's name within the file's, else the one most of
        whose exercises it defines; None where nothing fits."""
        sources = list(sources)
        for source in sources:
            if Path(self.source_name).stem == source.name:
                return source
        named = [source for source in sources if source.name in self.path.stem]
        if named:
            return max(named, key=lambda source: len(source.name))
        defined = set().union(*(cell.defines for cell in self.cells))
        shared = {s.name: len(defined & {e.name for e in s.exercises}) for s in sources}
        best = max(sources, key=lambda source: shared[source.name], default=None)
        return best if best and shared[best.name] else None

    def last_definitions(self, names: Iterable[str]) -> dict[str, int]:
        """The index of the cell whose definition of each name counts: the last one.

        An assignment counts only for a name that no cell defines otherwise, because
        `cer = cer(read, text)` after an exercise is no answer to it.
        """
        found = {}
        for name in names:
            defined = [i for i, cell in enumerate(self.cells) if name in cell.defines]
            defined = defined or [i for i, cell in enumerate(self.cells) if name in cell.binds]
            if defined:
                found[name] = defined[-1]
        return found


def read_submission(path: Path) -> Submission:
    """Reads a student's notebook, as leniently as Jupyter does.

    Raises UnreadableNotebookError for a file that is missing, larger than 20 MiB, or no notebook.
    """
    notebook = _read_json(path)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if isinstance(notebook, dict) and notebook.get("nbformat") in (1, 2, 3):
        raise UnreadableNotebookError(
            f"{path} has the old format {notebook['nbformat']}: open it in JupyterLab and save it."
        )
    if not isinstance(cells, list) or notebook.get("nbformat") != 4:
        raise UnreadableNotebookError(f"{path} is no notebook: {DOWNLOAD_IT}.")
    metadata = _table(notebook.get("metadata"))
    return Submission(
        path,
        tuple(_code_cell(text) for text in _code(path, cells)),
        str(_table(metadata.get("lab")).get("source", "")),
    )


def _read_json(path: Path) -> object:
    try:
        # A pipe would be waited for, and a device might never end.
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no file"
            raise UnreadableNotebookError(f"{path} is {kind}: name the notebooks themselves.")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableNotebookError(
                f"{path} has {size / 2**20:.0f} MiB, and the limit is {MAX_BYTES / 2**20:.0f}: "
                "clear its outputs."
            )
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableNotebookError(
            f"{path} cannot be read ({error.strerror or error}): check its name."
        ) from None
    if not data.strip():
        raise UnreadableNotebookError(f"{path} is empty: {DOWNLOAD_IT}.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UnreadableNotebookError(f"{path} is no notebook (not JSON): {DOWNLOAD_IT}.") from None


def _code(path: Path, cells: list) -> Iterator[str]:
    """The text of each code cell but the set-up cell, which grading runs in its official form."""
    for number, cell in enumerate(cells, start=1):
        text = _table(cell).get("source")
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "".join(text)
        if not isinstance(text, str):
            raise UnreadableNotebookError(
                f"{path} is no notebook (cell {number} has no text): {DOWNLOAD_IT}."
            )
        tags = _table(cell.get("metadata")).get("tags")
        is_set_up = isinstance(tags, list) and "setup" in tags
        if cell.get("cell_type") == "code" and not is_set_up:
            # Half a surrogate pair is legal JSON, and no text that could be sent to a kernel.
            yield text.encode("utf-8", "replace").decode("utf-8")


def _table(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _code_cell(text: str) -> CodeCell:
    tree = _parse(text)
    if tree is None:
        found = re.findall(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", text, flags=re.MULTILINE)
        return CodeCell(text, frozenset(found), frozenset())
    names = _Names()
    try:
        names.visit(tree)
    except RecursionError:
        return CodeCell(text, frozenset(), frozenset())
    return CodeCell(_without_checks(text, tree), frozenset(names.defined), frozenset(names.bound))


def _parse(text: str) -> ast.Module | None:
    """The cell's tree, with `pass` in the place of magics and commands, so that every line keeps
    its number; None where there is none."""
    if len(text) > MAX_PARSED:
        return None
    # Linear, where IPython's own transformation takes minutes for a cell of many magics.
    magic = r"^([ \t]*)(?:\w[\w, \t]*=[ \t]*)?[!%].*$|^([ \t]*)\?.*$|^([ \t]*)[\w.]+\?\??[ \t]*$"
    for code in (text, re.sub(magic, r"\1\2\3pass", text, flags=re.MULTILINE)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                return compile(code, "<cell>", "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


class _Names(ast.NodeVisitor):
    """The names that a cell binds at its top level, also within `if`, `try`, `for` and `with`."""

    def __init__(self) -> None:
        self.defined: set[str] = set()
        self.bound: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        self.defined.add(node.name)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_alias(self, node: ast.alias) -> None:
        self.defined.add((node.asname or node.name).split(".")[0])

    def visit_Assign(self, node: ast.Assign) -> None:
        if _calls_checks(node.value):
            return  # `x = checks.go_on(...)` is not the student's answer
        if isinstance(node.value, ast.Lambda):
            self.defined.update(one.id for one in node.targets if isinstance(one, ast.Name))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)

    def _own_scope(self, node: ast.AST) -> None:
        """What is bound in there is not bound in the cell."""

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _own_scope


def _calls_checks(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="checks"))):
            return True
    return False


def _without_checks(text: str, tree: ast.Module) -> str:
    """The code with `None` in the place of each `checks.NAME(...)` and `x = checks.go_on(...)`."""
    # The tree's columns count bytes, its lines end with a newline alone.
    lines = [line.encode() for line in text.split("\n")]
    for statement in reversed(tree.body):
        match statement:
            case ast.Expr(value=value) | ast.Assign(value=value) if _calls_checks(value):
                first, last = statement.lineno - 1, statement.end_lineno - 1
                before = lines[first][: statement.col_offset]
                after = lines[last][statement.end_col_offset :]
                lines[first : last + 1] = [before + b"None" + after]
    return b"\n".join(lines).decode()
