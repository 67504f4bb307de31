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

from page_readers import ReaderProcess
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate import Item
from text_recognizer.evaluate.validation import (
    GROUPS,
    digest,
    test_items,
    write_pages,
)
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.places import lab_folder
from text_recognizer.vocabulary import to_printable_ascii

PROCESSES = {
    "ours": "recognizer",
    "greedy": "without_language_model",
    "against": "without_language_model",
    "rapidocr": "rapidocr_upright",
    "tesseract": "tesseract",
}


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
    pages = read_in_turns(readers, items)
    if options.readings:
        options.readings.parent.mkdir(parents=True, exist_ok=True)
        options.readings.write_text(json.dumps(pages, indent=1) + "\n")
    summary = summarize(pages, {name: reader.peak_mb for name, reader in readers.items()})
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
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each contestant"
    )
    options = parser.parse_args()
    if ("against" in options.contestants) != (options.against is not None):
        parser.error("the contestant `against` and the option --against belong together")
    return options


def items_to_read(groups: list[str]) -> list[Item]:
    """The images of the groups; without the handwriting data only those of the fonts."""
    made = [group for group in groups if group in GROUPS]
    try:
        items = test_items() if "stanford" in groups else []
        handwriting_folder()
    except HandwritingMissingError as missing:
        print(f"fonts only: {missing}", file=sys.stderr)
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
    """Starts all; one that does not start is reported on stderr and left out."""
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
    pages = []
    for item in tqdm(items, unit="page", file=sys.stderr):
        read = {}
        for name, reader in readers.items():
            seconds, text = reader.read(item)
            edits = character_edits(text, item.text)
            read[name] = {"seconds": seconds, "text": text, "edits": edits.errors}
        length = character_edits("", item.text).length
        pages.append(
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
    return pages


def summarize(every: list[dict[str, Any]], peak_mb: dict[str, float]) -> dict[str, Any]:
    """The numbers of the JSON line: rows of groups, and memory."""
    rows: dict[str, Any] = {}
    for group in dict.fromkeys(page["group"] for page in every):
        pages = [page for page in every if page["group"] == group]
        row: dict[str, Any] = {
            "pages": len(pages),
            "characters": sum(page["characters"] for page in pages),
        }
        for name in peak_mb:
            edits = Edits.total(Edits(p["read"][name]["edits"], p["characters"]) for p in pages)
            seconds = [page["read"][name]["seconds"] for page in pages]
            row[name] = {"cer": edits.rate, "seconds_per_page": statistics.mean(seconds)}
        rows[group] = row
    return {"rows": rows, "peak_mb": peak_mb}


def print_table(summary: dict[str, Any]) -> None:
    """CER and seconds a page of each contestant, a row a group."""
    names = list(summary["peak_mb"])
    print(f"{'':10}{'pages':>6}" + "".join(f"{name:>20}" for name in names))
    for group, row in summary["rows"].items():
        cells = [f"{row[n]['cer']:.4f} ({row[n]['seconds_per_page']:.2f} s)" for n in names]
        print(f"{group:10}{row['pages']:6}" + "".join(f"{cell:>20}" for cell in cells))
    print(f"{'peak MB':16}" + "".join(f"{summary['peak_mb'][name]:20.0f}" for name in names))


if __name__ == "__main__":
    sys.exit(main())
