"""What a look at one thing found: a mark that reads without colour, a fact, and what to do."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["ok", "note", "fix"]
"""note: the lab runs, and something that it can use is missing, or is made when it is needed.
fix: `lab run`, or something else that needs no account, does not work so."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    """What was looked at."""
    mark: Mark
    found: str
    remedy: str = ""
    """What to do, a command where there is one; empty for ok alone."""


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def note(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, "note", found, remedy)


def fix(check: str, found: str, remedy: str) -> Finding:
    return Finding(check, "fix", found, remedy)
