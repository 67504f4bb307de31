"""Does a line's confidence mean what it says, and below which is a line worth a second look?

Reads the fixed validation pages, of which nothing was trained on, and compares each line's
confidence with the share of its characters that are right (1 - CER). It reports the expected
calibration error (ECE: 10 bins of equal width, weighed by their lines) of each group and of all,
and how well thresholds find the lines with a CER above 0.1. The letters of 1905 are listed beside.

    python benchmarks/calibration.py
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.validation import test_items, write_pages
from text_recognizer.metrics import character_edits
from text_recognizer.overlay import DOUBTFUL
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer
from text_recognizer.places import lab_folder

TARGET = 0.1  # the most that the ECE on all validation lines may be
WORST_CER = 0.1  # a line of more is bad
THRESHOLDS = (0.85, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95)
BINS = 10
MARGIN = 3  # how many lines more than their difference in number two readings may be shifted


@dataclass(frozen=True)
class LineScore:
    """One line that was read: its confidence, the share of its characters that are right (1 - CER,
    not below 0; 0 for a line that is none), and what was written."""

    confidence: float
    right: float
    label: str | None


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


def score_lines(read: Sequence[Line], text: str) -> list[LineScore]:
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
        scores.append(LineScore(line.confidence, right, label))
    return scores


def _partners(read: Sequence[str], labels: Sequence[str]) -> list[str | None]:
    """The label of each reading, or None."""
    most = abs(len(read) - len(labels)) + MARGIN
    cost = np.full((len(read) + 1, len(labels) + 1), math.inf)
    came = np.zeros(cost.shape, dtype=np.int8)  # 1: a pair, 2: only a reading, 3: only a label
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        scores = read_scores(options.model)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    validation = [one for group, own in scores.items() if group != "stanford" for one in own]
    groups = {**{name: calibration(own) for name, own in scores.items()}}
    groups["validation"] = calibration(validation)
    for name, found in groups.items():
        print(f"{name:11} {found.lines:5} lines  ECE {found.ece:.4f}")
    print(f"\n{'below':>6}{'marked':>9}{'precision':>11}{'recall':>9}")
    table = [threshold(validation, value) for value in THRESHOLDS]
    for row in table:
        note = "  overlay.DOUBTFUL" * (row["value"] == DOUBTFUL)
        print(
            f"{row['value']:6.2f}{row['marked']:9.3f}{row['precision']:11.3f}"
            f"{row['recall']:9.3f}{note}"
        )
    print(json.dumps({"benchmark": "calibration", **summary(groups, table)}))
    return 0


def read_scores(model: Path | None) -> dict[str, list[LineScore]]:
    """The scored lines of each group; of the fonts only, where the real handwriting is missing."""
    recognizer = ParagraphTextRecognizer(
        model or compile_paragraph_reader(lab_folder() / "models" / "accuracy.pt")
    )
    try:
        handwriting_folder()
        items = write_pages(lab_folder() / "validation") + test_items()
    except HandwritingMissingError as missing:
        print(f"fonts only: {missing}", file=sys.stderr)
        items = write_pages(lab_folder() / "validation", ["font"])
    scores: dict[str, list[LineScore]] = {}
    for item in tqdm(items, unit="page", file=sys.stderr):
        lines = recognizer.read(item.path).lines
        scores.setdefault(item.group, []).extend(score_lines(lines, item.text))
    return scores


def threshold(
    scores: list[LineScore], value: float, worst_cer: float = WORST_CER
) -> dict[str, float]:
    """What marking the lines below `value` finds of those with a CER above `worst_cer`: the share
    of the marked lines that are bad (precision), of the bad lines that are marked (recall), and of
    all lines that are marked."""
    bad = [score.right < 1 - worst_cer for score in scores]
    marked = [score.confidence < value for score in scores]
    both = sum(a and b for a, b in zip(bad, marked, strict=True))
    return {
        "value": value,
        "precision": both / max(sum(marked), 1),
        "recall": both / max(sum(bad), 1),
        "marked": sum(marked) / max(len(scores), 1),
    }


def summary(groups: dict[str, Calibration], thresholds: list) -> dict[str, Any]:
    """The numbers of the JSON line."""
    ece = groups["validation"].ece
    return {
        "groups": {
            name: {key: value for key, value in vars(found).items() if key != "bins"}
            for name, found in groups.items()
        },
        "bins": [vars(one) for one in groups["validation"].bins],
        "thresholds": thresholds,
        "targets": {"ece": {"value": ece, "limit": TARGET, "met": ece <= TARGET}},
    }


if __name__ == "__main__":
    sys.exit(main())
