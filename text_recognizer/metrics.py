"""How far a reading is from what was written: character and word error rates.

Rates of many readings are edits over lengths in all, so that a long page counts for more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torchmetrics.text import CharErrorRate, WordErrorRate


@dataclass(frozen=True)
class Edits:
    """Insertions, deletions and substitutions, and the length of the text they would restore."""

    errors: int
    length: int

    @property
    def rate(self) -> float:
        """Edits per character or word of the label (may pass 1).

        Where the label is empty, as on a blank page, each invented piece counts as one, so that
        nothing is divided by zero and inventing text still costs.
        """
        return self.errors / max(self.length, 1)

    @staticmethod
    def total(edits: Iterable["Edits"]) -> "Edits":
        """The sum: its rate is the corpus-level rate that papers report, no mean of rates."""
        parts = list(edits)
        return Edits(sum(part.errors for part in parts), sum(part.length for part in parts))


def fold_trailing_spaces(text: str) -> str:
    """The text without spaces at the ends of lines and without empty lines at its end.

    They cannot be seen on paper. Everything else stays: runs of spaces, indents, case, newlines.
    """
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")


def character_edits(reading: str, label: str) -> Edits:
    """Levenshtein distance in characters, a newline being one character (torchmetrics)."""
    metric = CharErrorRate()
    metric.update(fold_trailing_spaces(reading), fold_trailing_spaces(label))
    return Edits(int(metric.errors), int(metric.total))


def word_edits(reading: str, label: str) -> Edits:
    """Levenshtein distance in words, split at spaces and newlines (torchmetrics)."""
    metric = WordErrorRate()
    metric.update(fold_trailing_spaces(reading), fold_trailing_spaces(label))
    return Edits(int(metric.errors), int(metric.total))
