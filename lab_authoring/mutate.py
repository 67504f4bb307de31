"""Mutation testing of the checks: how many slightly wrong versions of a solution do they reject?

Each mutant differs from the official solution in one place. One that passes its check is a
survivor: either the check misses a mistake, or the mutant does the same as the solution. The
second kind is listed in `equivalent_mutants.toml`, each with the reason.
"""

import ast
import multiprocessing
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from lab_authoring.contract import Exercise
from lab_authoring.source import Source
from lab_utils.lessons.official import run_with_source

EQUIVALENT = Path(__file__).parent / "equivalent_mutants.toml"
LEAST_REJECTED = 0.95
"""Of the mutants that are not equivalent, in each notebook."""
MUTANT_SECONDS = 20.0
"""Time limit for the check of one mutant; one that takes longer counts as rejected."""

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.BitOr: ast.BitAnd,
}
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}

SYMMETRIC = ("max", "min", "equal", "compare_digest")
"""Functions that do the same with their first two arguments swapped."""


@dataclass(frozen=True)
class Mutant:
    """A solution with one change."""

    exercise: Exercise
    change: str
    """`old => new`, with a count behind it where the same change is possible in several places."""
    code: str


def run_check(source: Source, exercise: Exercise, answer: str) -> None:
    """Runs the notebook's imports, an answer and its check. Raises what the check raises."""
    names: dict = {"__name__": "__main__"}
    exec(source.import_code, names)
    run_with_source(answer, f"<{source.name} {exercise.name} {hash(answer)}>", names)
    exec(exercise.check, names)


@cache
def equivalent_mutants() -> dict[str, dict[str, str]]:
    """By the exercise's name: each equivalent change with the reason."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def different_mutants(source: Source) -> list[Mutant]:
    """The mutants of all solutions of a notebook but the equivalent ones."""
    return [
        mutant
        for exercise in source.exercises
        for mutant in mutants(exercise)
        if mutant.change not in equivalent_mutants().get(exercise.name, {})
    ]


def mutants(exercise: Exercise) -> Iterator[Mutant]:
    """All mutants of an exercise's solution."""
    tree = ast.parse(exercise.solution)
    seen: Counter[str] = Counter()
    for node, put in list(_places(tree.body[-1])):
        for new in _changes(node):
            put(new)
            try:
                code = ast.unparse(tree)
                change = f"{_text(node)} => {_text(new)}"
                compile(code, "mutant", "exec")
            except (SyntaxError, ValueError):
                continue
            finally:
                put(node)
            seen[change] += 1
            number = f" (#{seen[change]})" if seen[change] > 1 else ""
            yield Mutant(exercise, change + number, code)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None]]]:
    """Each node of a function's body that may be changed, and what puts another in its place."""
    if isinstance(node, ast.Raise | ast.JoinedStr):  # sentences for people
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "ctx"):
            continue
        if isinstance(value, ast.AST):
            yield value, partial(setattr, node, name)
            yield from _places(value)
        elif isinstance(value, list):
            for i, one in enumerate(value):
                if isinstance(one, ast.AST) and not _is_docstring(one):
                    yield one, partial(value.__setitem__, i)
                    yield from _places(one)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may take the place of this one."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield _with(node, ops=[*ops[:i], other(), *ops[i + 1 :]])
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for left in _one_less(values):
                yield left[0] if len(left) == 1 else _with(node, values=left)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=value):
            yield from map(ast.Constant, _other_values(value))
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name], ast.Load())
        case ast.IfExp(body=body, orelse=orelse):
            yield _with(node, body=orelse, orelse=body)
        case ast.Call(args=args, keywords=keywords):
            if len(args) > 1 and ast.unparse(node.func).split(".")[-1] not in SYMMETRIC:
                yield _with(node, args=[args[1], args[0], *args[2:]])
            for left in _one_less(keywords):
                yield _with(node, keywords=left)
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            for left in _one_less(kinds):
                yield _with(node, type=ast.Tuple(left, ast.Load()))
        case ast.FunctionDef() | ast.Import() | ast.ImportFrom() | ast.Pass():
            return
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Try(handlers=handlers, finalbody=final):
            for kept in _one_less(handlers):
                if kept or final:
                    yield _with(node, handlers=kept, orelse=node.orelse if kept else [])
                else:
                    yield ast.If(ast.Constant(True), [*node.body, *node.orelse], [])
        case ast.If(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
    if isinstance(node, ast.stmt):
        yield ast.Pass()


def _one_less(items: list) -> list[list]:
    return [items[:i] + items[i + 1 :] for i in range(len(items))]


def _other_values(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
            if value > 0:
                yield value - 1
        case float():
            yield value * 2 if value else 1.0
        case str() if value and " " not in value.strip():
            yield value + "x"
        case bytes() if value:
            yield value + b"x"


def _with(node: ast.AST, **fields: object) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def _text(node: ast.AST) -> str:
    """A node's code on one line, cut."""
    if isinstance(node, ast.ExceptHandler):
        return f"except {ast.unparse(node.type) if node.type else ''}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]}...{text[-27:]}"


def survives(source: Source, mutant: Mutant) -> bool:
    """Whether a mutant passes its check, tried in a separate process."""
    _import_what_the_check_imports(source, mutant.exercise)
    process = multiprocessing.get_context("fork").Process(target=_try, args=(source, mutant))
    process.start()
    process.join(MUTANT_SECONDS)
    process.kill()
    process.join()
    return process.exitcode == 0


@cache
def _import_what_the_check_imports(source: Source, exercise: Exercise) -> None:
    """Saves the forked processes from importing it each."""
    import torch

    torch.set_num_threads(1)  # threads do not survive a fork
    run_check(source, exercise, exercise.solution)


def _try(source: Source, mutant: Mutant) -> None:
    from lab_utils.lessons import checking

    checking.CALL_SECONDS, checking.CHECK_SECONDS = 1.0, 10.0
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        run_check(source, mutant.exercise, mutant.code)
        code = 0
    finally:
        os._exit(code)
