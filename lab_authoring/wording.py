"""Plain English: finds phrases that read as if translated, in notebooks, pages and code."""

import re
from collections.abc import Iterator
from pathlib import Path

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
READ = "*.md */*.md data/*/*.md notebooks/source/*.py lab_*/**/*.py text_recognizer/**/*.py".split()


def wording_problems(project: Path) -> Iterator[str]:
    """One line for each such phrase in the texts of a project: `FILE:LINE: what to write`."""
    for path in sorted(path for pattern in READ for path in project.glob(pattern)):
        if path.name == Path(__file__).name:  # it quotes them
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if any(part in line for part in ALLOWED):
                continue
            if path.suffix == ".py" and path.parent.name != "source":
                line = line.partition("# ")[0]  # only strings, no comments
            for phrase, better in PHRASES.items():
                if found := re.search(phrase, line):
                    where = f"{path.relative_to(project)}:{number}"
                    yield f"{where}: write plain English for {found[0]!r}: {better}"
