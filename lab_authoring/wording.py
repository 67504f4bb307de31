"""Plain English: finds phrases that read as if translated, in notebooks, pages and strings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lab_authoring.source import Source, shown
from text_recognizer.places import PROJECT

PHRASES = {
    r"\b[Ww]hoever\b": "anyone who, or: you",
    r"\banew\b": "again",
    r"\bby lot\b": "at random",
    r"\bwithout a word\b": "silently",
    r"\btells? (?:what|where|whether|of)\b": "says",
    r"\bput right\b": "fix",
    r"\bforetold?\b|\bforetells\b": "predicted",
    r"\bdearest\b": "the slowest, or: the most expensive",
    r"\bbelongs? into\b": "belongs in",
    r"\bmade device\b": "simulated device",
    r"\bparted\b": "split",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bof (?:its|his|her|their) own\b": "its own ..., or: a separate ...",
    r"(?<!not )(?<!and )\balone\b(?!\))": "only, or: by itself",
    r"\bstands? (?:as|in|on|there|beside|between)\b": "is",
}
ALLOWED = ("the lines of its own page", "marker `alone`", "leave it alone", "leave them alone")
"""Lines with one of these parts are not checked."""
CODE = ("lab_authoring", "lab_tracker", "lab_utils", "text_recognizer")
"""Folders whose strings are checked, docstrings and messages among them."""


def wording_problems(source: Source) -> Iterator[str]:
    """One line for each such phrase in a text of the source: `FILE:LINE: what to write`."""
    for cell in source.cells:
        if cell.kind != "markdown":
            continue
        for index, line in enumerate(cell.text.split("\n")):
            where = f"{source.shown}:{cell.line_of(index)}"
            yield from _in_line(line, where)
            # A pair of these would be taken for a formula.
            if len(re.findall(r"(?<![\\`])\$", re.sub(r"`[^`]*`", "", line))) > 1:
                yield f"{where}: write \\$ for a dollar sign"


def page_problems(project: Path = PROJECT) -> Iterator[str]:
    """The same for the project's pages."""
    for pattern in ("*.md", "*/*.md", "data/*/*.md"):
        for path in sorted(project.glob(pattern)):
            for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
                yield from _in_line(line, f"{shown(path)}:{number}")


def code_problems(project: Path = PROJECT) -> Iterator[str]:
    """The same for the strings of code, docstrings included."""
    for path in sorted(path for folder in CODE for path in (project / folder).rglob("*.py")):
        if path == Path(__file__):  # it quotes them
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for number, line in enumerate(node.value.split("\n"), start=node.lineno):
                    yield from _in_line(line, f"{shown(path)}:{number}")


def _in_line(line: str, where: str) -> Iterator[str]:
    if any(part in line for part in ALLOWED):
        return
    for phrase, better in PHRASES.items():
        if found := re.search(phrase, line):
            yield f"{where}: write plain English for {found[0]!r}: {better}"
