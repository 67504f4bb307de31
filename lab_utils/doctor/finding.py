"""The result of one check: a mark that reads without colour, a fact, and what to do."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What one look found."""

    mark: Literal["ok", "note", "fix"]
    """note: the lab runs, but something optional is missing, or will be created when it is needed.
    fix: `lab run`, or something else that needs no account, does not work."""
    found: str
    remedy: str = ""
    """What to do, a command if there is one; empty only for ok."""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def note(found: str, remedy: str) -> Finding:
    return Finding("note", found, remedy)


def fix(found: str, remedy: str) -> Finding:
    return Finding("fix", found, remedy)
