"""Does a line's confidence mean what it says, and below which is a line worth a second look?

Reads the fixed validation pages, of which nothing was trained on, and compares each line's
confidence with the share of its characters that are right (1 - CER). Told are the expected
calibration error (ECE: 10 bins of equal width, weighed by their lines) of each group and of all,
and how well thresholds find the lines with a CER above 0.1. The letters of 1905 are told beside.

    python benchmarks/calibration.py --plot .lab/reliability.png
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate.calibration import (
    Calibration,
    LineScore,
    calibration,
    score_lines,
)
from text_recognizer.evaluate.validation import test_items, write_pages
from text_recognizer.overlay import DOUBTFUL
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import lab_folder

TARGET = 0.1  # the most that the ECE on all validation lines may be
WORST_CER = 0.1  # a line of more is bad
THRESHOLDS = (0.85, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    parser.add_argument("--plot", type=Path, help="draw the reliability diagram into this file")
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
    for name, told in groups.items():
        print(f"{name:11} {told.lines:5} lines  ECE {told.ece:.4f}")
    print(f"\n{'below':>6}{'marked':>9}{'precision':>11}{'recall':>9}")
    table = [threshold(validation, value) for value in THRESHOLDS]
    for row in table:
        note = "  overlay.DOUBTFUL" * (row["value"] == DOUBTFUL)
        print(
            f"{row['value']:6.2f}{row['marked']:9.3f}{row['precision']:11.3f}"
            f"{row['recall']:9.3f}{note}"
        )
    if options.plot:
        draw(groups["validation"], options.plot)
    print(json.dumps({"benchmark": "calibration", **summary(groups, table)}))
    return 0


def read_scores(model: Path | None) -> dict[str, list[LineScore]]:
    """The scored lines of each group; of the fonts alone where the real handwriting is missing."""
    recognizer = ParagraphTextRecognizer(
        model or compile_paragraph_reader(lab_folder() / "models" / "accuracy.pt")
    )
    try:
        handwriting_folder()
        items = write_pages(lab_folder() / "validation") + test_items()
    except HandwritingMissingError as missing:
        print(f"fonts alone: {missing}", file=sys.stderr)
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
            name: {key: value for key, value in vars(told).items() if key != "bins"}
            for name, told in groups.items()
        },
        "bins": [vars(one) for one in groups["validation"].bins],
        "thresholds": thresholds,
        "targets": {"ece": {"value": ece, "limit": TARGET, "met": ece <= TARGET}},
    }


def draw(told: Calibration, path: Path) -> None:
    """The reliability diagram: what bins of confidence got right, above how many lines they hold.
    It needs no colour: the lines differ by dashes, the bars are gray."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5, 5.5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    filled = [one for one in told.bins if one.lines]
    above.plot([0, 1], [0, 1], color="gray", linestyle="--", label="as it says")
    above.plot(
        [one.confidence for one in filled],
        [one.right for one in filled],
        color="black",
        marker="o",
        label=f"validation lines (ECE {told.ece:.3f})",
    )
    above.set(ylabel="share of right characters", ylim=(0, 1))
    above.legend(loc="upper left")
    middles = [(one.low + one.high) / 2 for one in told.bins]
    counts = [one.lines for one in told.bins]
    bars = below.bar(middles, counts, width=0.09, color="lightgray", edgecolor="black")
    below.bar_label(bars, [str(count) if count else "" for count in counts])
    below.set(
        xlabel="confidence of a line", ylabel="lines", xlim=(0, 1), ylim=(0, max(counts) * 1.25)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
