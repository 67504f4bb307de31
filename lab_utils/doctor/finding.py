"""The result of one check: a mark that reads without colour, a fact, and what to do."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["ok", "note", "fix"]
"""note: the lab runs, but something optional is missing, or will be created when it is needed.
fix: `lab run`, or something else that needs no account, does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    """What was checked."""
    mark: Mark
    found: str
    remedy: str = ""
    """What to do, a command if there is one; empty only for ok."""


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def note(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, "note", found, remedy)


def fix(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, "fix", found, remedy)
