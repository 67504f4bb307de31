"""Does a line's confidence mean what it says: of lines told 0.8, are 8 characters in 10 right?

The app marks doubtful lines by it, so a number that flatters would hide what nobody has read well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from text_recognizer.metrics import character_edits

BINS = 10
MARGIN = 3  # how many lines more than their difference in number two readings may be shifted


class ReadLine(Protocol):
    """What is asked of a line that was read."""

    @property
    def text(self) -> str: ...

    @property
    def confidence(self) -> float: ...


@dataclass(frozen=True)
class LineScore:
    """One line that was read: its confidence, the share of its characters that are right (1 - CER,
    not below 0; 0 for a line that is none), and whose writing it is."""

    confidence: float
    right: float
    label: str | None
    text: str
    writer: str = ""


@dataclass(frozen=True)
class Bin:
    """The lines whose confidence lies between two bounds; means of none are 0."""

    low: float
    high: float
    lines: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error against the share of right characters, and the bins that it is
    the mean of."""

    ece: float
    bins: list[Bin]
    lines: int


def score_lines(read: Sequence[ReadLine], text: str, writer: str = "") -> list[LineScore]:
    """What each line that was read on a page got right, given the page's text.

    Lines are paired in their order so that the edits in all are fewest; a line may be left without
    a partner on either side (Levenshtein over lines, with the edits between them as costs).
    """
    labels = text.split("\n") if text else []
    scores = []
    for line, label in zip(read, _partners([line.text for line in read], labels), strict=True):
        right = 0.0
        if label is not None:
            right = max(0.0, 1 - character_edits(line.text, label).rate)
        scores.append(LineScore(line.confidence, right, label, line.text, writer))
    return scores


def _partners(read: Sequence[str], labels: Sequence[str]) -> list[str | None]:
    """The label of each reading, or None."""
    most = abs(len(read) - len(labels)) + MARGIN
    cost = np.full((len(read) + 1, len(labels) + 1), math.inf)
    came = np.zeros(cost.shape, dtype=np.int8)  # 1: a pair, 2: a reading alone, 3: a label alone
    cost[0, 0] = 0
    for i in range(len(read) + 1):
        for j in range(len(labels) + 1):
            ways = [(cost[i, j], 0)]
            if i and j and abs(i - j) <= most:
                edits = character_edits(read[i - 1], labels[j - 1]).errors
                ways.append((cost[i - 1, j - 1] + edits, 1))
            if i:
                ways.append((cost[i - 1, j] + len(read[i - 1]), 2))
            if j:
                ways.append((cost[i, j - 1] + len(labels[j - 1]), 3))
            cost[i, j], came[i, j] = min(ways)
    partners: list[str | None] = [None] * len(read)
    i, j = len(read), len(labels)
    while i or j:
        if came[i, j] == 1:
            i, j = i - 1, j - 1
            partners[i] = labels[j]
        elif came[i, j] == 2:
            i -= 1
        else:
            j -= 1
    return partners


def calibration(scores: Sequence[LineScore], bins: int = BINS) -> Calibration:
    """The expected calibration error of lines (Naeini et al. 2015; Guo et al., arXiv 1706.04599).

    Confidences are put into `bins` bins of equal width; the error is the mean over the bins of
    |mean confidence - mean share of right characters|, each weighing as many lines as it holds.
    Raises ValueError where there are no lines.
    """
    if not scores:
        raise ValueError("There are no lines: read some pages first.")
    confidence = np.array([score.confidence for score in scores])
    right = np.array([score.right for score in scores])
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows, ece = [], 0.0
    for index in range(bins):
        here = place == index
        count = int(here.sum())
        means = [float(values[here].mean()) if count else 0.0 for values in (confidence, right)]
        rows.append(Bin(index / bins, (index + 1) / bins, count, *means))
        ece += abs(means[0] - means[1]) * count / len(scores)
    return Calibration(ece, rows, len(scores))
