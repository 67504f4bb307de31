"""How well is real handwriting read, beside what else a user can install?

All contestants read the same images, page by page in turns, each in a process of its own:

    ours        this recognizer
    greedy      the same without its language model
    against     another model file of ours (--against), such as the one before a training, read so
    rapidocr    rapidocr 3.10 without its direction classifier, which turns some upright lines over
    tesseract   Tesseract 5 (Debian's tesseract-ocr)

The images are four groups, of which nothing was ever trained on:

    stanford    13 paragraphs of letters from 1905: the test, which chose nothing
    unipen      80 pages of 40 writers, their own lines or words in their own order
    copiste     30 pages of scanned lines, French without the accents
    font        24 pages of made text in six handwriting fonts

    python benchmarks/accuracy.py --contestants ours,rapidocr,tesseract
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page_readers import ReaderProcess
from PIL import Image
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate import Item
from text_recognizer.evaluate.validation import (
    GROUPS,
    REAL_GROUPS,
    digest,
    make_pages,
    test_items,
    write_pages,
)
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.pages.generator import Page
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer
from text_recognizer.places import lab_folder
from text_recognizer.train.finder import compare_lines
from text_recognizer.vocabulary import to_printable_ascii

TARGETS = {"stanford": 0.12, "unipen": 0.05, "copiste": 0.08}  # the most that our CER may be
MOST_OF_BEFORE = 1.2  # of the seconds and of the memory of `against`, read greedily
PROCESSES = {
    "ours": "recognizer",
    "greedy": "without_language_model",
    "against": "without_language_model",
    "rapidocr": "rapidocr_upright",
    "tesseract": "tesseract",
}
SAMPLES = 64  # columns in which paths are compared


def main() -> int:
    options = arguments()
    try:
        items = items_to_read(options.groups)
        model = options.model or compile_paragraph_reader(lab_folder() / "models" / "accuracy.pt")
        readers = start(options, model)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not readers:
        print("error: None of the contestants could be started.", file=sys.stderr)
        return 2
    told = read_in_turns(readers, items)
    if options.readings:
        options.readings.parent.mkdir(parents=True, exist_ok=True)
        options.readings.write_text(json.dumps(told, indent=1) + "\n")
    summary = summarize(told, {name: reader.peak_mb for name, reader in readers.items()})
    if options.lines:
        summary["lines"] = lines_found(ParagraphTextRecognizer(model), options.groups)
    print_table(summary)
    print(
        json.dumps(
            {
                "benchmark": "accuracy",
                "threads": options.threads,
                "images": digest(items),
                **summary,
            }
        )
    )
    return 0


def arguments() -> argparse.Namespace:
    def names(known: tuple[str, ...]) -> Any:
        def parse(text: str) -> list[str]:
            chosen = text.split(",")
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
            return chosen

        return parse

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    groups = ("stanford", *GROUPS)
    contestants = tuple(PROCESSES)
    parser.add_argument(
        "--contestants",
        type=names(contestants),
        default=["ours"],
        help=f"of {', '.join(contestants)} (ours)",
    )
    parser.add_argument(
        "--groups",
        type=names(groups),
        default=list(groups),
        help=f"of {', '.join(groups)} (all)",
    )
    parser.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    parser.add_argument("--against", type=Path, help="TorchScript file of the contestant `against`")
    parser.add_argument("--rapidocr-python", default=sys.executable, help="its interpreter")
    parser.add_argument("--readings", type=Path, help="write all that was read into this file")
    parser.add_argument("--lines", action="store_true", help="also count the lines found")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each contestant"
    )
    options = parser.parse_args()
    if ("against" in options.contestants) != (options.against is not None):
        parser.error("the contestant `against` and the option --against belong together")
    return options


def items_to_read(groups: list[str]) -> list[Item]:
    """The images of the groups; without the handwriting data those of the fonts alone."""
    made = [group for group in groups if group in GROUPS]
    try:
        items = test_items() if "stanford" in groups else []
        handwriting_folder()
    except HandwritingMissingError as missing:
        print(f"fonts alone: {missing}", file=sys.stderr)
        items, made = [], ["font"]
    return items + (write_pages(lab_folder() / "validation", made) if made else [])


class Reader:
    """A contestant's process, and the most memory (MB) that it took so far."""

    def __init__(self, name: str, options: argparse.Namespace, model: Path) -> None:
        python = options.rapidocr_python if name == "rapidocr" else sys.executable
        file = options.against if name == "against" else model
        self.process = ReaderProcess(PROCESSES[name], options.threads, python=python, model=file)
        self.peak_mb = 0.0

    def read(self, item: Item) -> tuple[float, str]:
        """Seconds, and the text in printable ASCII, as the labels are."""
        seconds, [text], self.peak_mb = self.process.read([item.path], [len(item.text)])
        return seconds, to_printable_ascii(text)


def start(options: argparse.Namespace, model: Path) -> dict[str, Reader]:
    """Starts all; one that does not start is told on stderr and left out."""
    readers = {}
    for name in options.contestants:
        try:
            readers[name] = Reader(name, options, model)
        except RuntimeError as error:
            print(f"{name} is not measured: {error}", file=sys.stderr)
    return readers


def read_in_turns(readers: dict[str, Reader], items: list[Item]) -> list[dict[str, Any]]:
    """What each contestant read on each image, and in how many seconds."""
    for reader in readers.values():
        for item in (items[0], items[0]):  # TorchScript optimizes in the second reading
            reader.read(item)
    told = []
    for item in tqdm(items, unit="page", file=sys.stderr):
        read = {}
        for name, reader in readers.items():
            seconds, text = reader.read(item)
            edits = character_edits(text, item.text)
            read[name] = {"seconds": seconds, "text": text, "edits": edits.errors}
        length = character_edits("", item.text).length
        told.append(
            {
                "file": item.file,
                "group": item.group,
                "text": item.text,
                "characters": length,
                "read": read,
            }
        )
    for reader in readers.values():
        reader.process.close()
    return told


def summarize(told: list[dict[str, Any]], peak_mb: dict[str, float]) -> dict[str, Any]:
    """The numbers of the JSON line: rows of groups, memory, and whether the targets are met."""
    rows: dict[str, Any] = {}
    for group in dict.fromkeys(page["group"] for page in told):
        pages = [page for page in told if page["group"] == group]
        row: dict[str, Any] = {
            "pages": len(pages),
            "characters": sum(page["characters"] for page in pages),
        }
        for name in peak_mb:
            edits = Edits.total(Edits(p["read"][name]["edits"], p["characters"]) for p in pages)
            seconds = [page["read"][name]["seconds"] for page in pages]
            row[name] = {"cer": edits.rate, "seconds_per_page": statistics.mean(seconds)}
        rows[group] = row
    met = {
        group: {"value": rows[group]["ours"]["cer"], "limit": limit}
        for group, limit in TARGETS.items()
        if "ours" in peak_mb and group in rows
    }
    if "greedy" in peak_mb and "against" in peak_mb:
        ratios = [p["read"]["greedy"]["seconds"] / p["read"]["against"]["seconds"] for p in told]
        memory = peak_mb["greedy"] / peak_mb["against"]
        met["seconds"] = {"value": statistics.median(ratios), "limit": MOST_OF_BEFORE}
        met["memory"] = {"value": memory, "limit": MOST_OF_BEFORE}
    for target in met.values():
        target["met"] = target["value"] <= target["limit"]
    return {"rows": rows, "peak_mb": peak_mb, "targets": met}


def print_table(summary: dict[str, Any]) -> None:
    """CER and seconds a page of each contestant, a row a group."""
    names = list(summary["peak_mb"])
    print(f"{'':10}{'pages':>6}" + "".join(f"{name:>20}" for name in names))
    for group, row in summary["rows"].items():
        cells = [f"{row[n]['cer']:.4f} ({row[n]['seconds_per_page']:.2f} s)" for n in names]
        print(f"{group:10}{row['pages']:6}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"{'peak MB':16}" + "".join(f"{summary['peak_mb'][name]:20.0f}" for name in names))
    for name, target in summary["targets"].items():
        said = "met" if target["met"] else "not met"
        print(f"{name:10} {target['value']:.4f}, at most {target['limit']}: {said}")


def lines_found(recognizer: ParagraphTextRecognizer, groups: list[str]) -> dict[str, Any]:
    """Of each group, the lines that are there, those that were found, and those found besides.

    A line is found if one keeps within a quarter of the writing's height of it over nine tenths of
    its columns; what is found besides is none, or found twice.
    """
    try:
        handwriting_folder()
        made = [group for group in groups if group in GROUPS]
    except HandwritingMissingError:
        made = [group for group in groups if group in GROUPS and group not in REAL_GROUPS]
    rows = {group: {"lines": 0, "found": 0, "false": 0} for group in made}
    for plan, page in tqdm(make_pages(made), unit="page", file=sys.stderr):
        found, false = compare(recognizer.read(Image.fromarray(page.image)).lines, page)
        row = rows[plan.group]
        row["lines"] += len(page.lines)
        row["found"] += found
        row["false"] += false
    return rows


def compare(read: list[Line], page: Page) -> tuple[int, int]:
    """Lines of a page that were found, and lines read that are none or are read twice."""
    width = page.image.shape[1]
    at = (np.arange(SAMPLES) + 0.5) * width / SAMPLES

    def on_columns(paths: list, edges: list) -> tuple[torch.Tensor, torch.Tensor]:
        columns = torch.tensor(edges).reshape(-1, 2) * SAMPLES / width
        ys = [np.interp(at, *np.asarray(path).T) for path in paths]
        return torch.tensor(np.array(ys)).reshape(-1, SAMPLES), columns.long().clamp(0, SAMPLES - 1)

    found = on_columns([line.path for line in read], [[r.path[0][0], r.path[-1][0]] for r in read])
    # What is told of a line is the middle of its strip, not of its small letters.
    known_paths = [line.path + [0, (line.below - line.above) / 2] for line in page.lines]
    known = on_columns(known_paths, [[line.start, line.end] for line in page.lines])
    heights = torch.tensor([line.above + line.below for line in page.lines])
    return compare_lines(found, (*known, heights))


if __name__ == "__main__":
    sys.exit(main())
