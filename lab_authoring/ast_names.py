"""What the code of cells imports and which names it needs, found without running it."""

import ast
import builtins
import symtable
from collections.abc import Iterator, Sequence

from lab_authoring.cells import Cell
from lab_utils.lessons.official import imports_of, without_magics


def syntax_error(code: str) -> SyntaxError | None:
    """Why the code of a cell does not parse, if so."""
    try:
        ast.parse(without_magics(code))
    except SyntaxError as error:
        return error
    return None


def shared_imports(cells: Sequence[Cell]) -> list[str]:
    """The import statements of code cells; not those of exercises, which are checked one by one."""
    return [
        imports_of(cell.text) for cell in cells if cell.kind == "code" and not cell.has("exercise")
    ]


def imported_names(code: str) -> set[str]:
    """The names that import statements bind."""
    return {
        (alias.asname or alias.name).split(".")[0]
        for statement in ast.parse(code).body
        for alias in statement.names
    }


def free_names(code: str) -> set[str]:
    """The names that code uses and does not bind, builtins left out; none of broken code."""
    if syntax_error(code):
        return set()
    top = symtable.symtable(without_magics(code), "cell", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}

    def used(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table is top):
                yield symbol.get_name()
        for child in table.get_children():
            yield from used(child)

    return set(used(top)) - bound - set(dir(builtins)) - {"__name__"}
