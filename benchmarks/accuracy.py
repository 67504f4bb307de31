"""How well are pages read, and are their lines found?

Two kinds of pages, neither ever trained on:

- real: the 13 paragraphs of letters from 1905 in `stanford.json`, where the handwriting data is;
- made: pages of writers, fonts and scans kept for validation, whose lines are known. `worn` pages
  are as hard as training makes them (pencil, shadows, bleed-through, JPEG), `fair` ones are what a
  decent scan gives.

A known line is found if a line keeps within a quarter of the writing's height of it over nine
tenths of its columns; what is found besides is false, or a line found twice.

    python benchmarks/accuracy.py [--pages 40]
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from text_recognizer.compile import compile_paragraph_reader
from text_recognizer.evaluate import evaluate, load_items
from text_recognizer.metrics import character_edits
from text_recognizer.pages.generator import Page, PageGenerator, ink_source
from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_folder
from text_recognizer.paragraph_text_recognizer import Line, ParagraphTextRecognizer
from text_recognizer.places import lab_folder
from text_recognizer.train.finder import compare_lines

WEAR = {"worn": 1.0, "fair": 0.35}
SAMPLES = 64  # columns in which paths are compared


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--pages", type=int, default=40, help="made pages of each kind (40)")
    options.add_argument("--seed", type=int, default=2026)
    options.add_argument("--model", type=Path, help="TorchScript file; else the packaged weights")
    chosen = options.parse_args()
    model = chosen.model or compile_paragraph_reader(lab_folder() / "models" / "accuracy.pt")
    recognizer = ParagraphTextRecognizer(model)
    rows = {}
    kinds = ["font"]
    try:
        labels = handwriting_folder() / "stanford.json"
        kinds += ["pen", "scan"]
        read = evaluate(recognizer, load_items(labels, kind="paragraph"), batch_size=4)
        rows["stanford"] = {"pages": read.overall.images, "cer": read.overall.cer}
    except HandwritingMissingError as missing:
        print(f"fonts alone: {missing}", file=sys.stderr)
    for wear, strength in WEAR.items():
        for kind in kinds:
            generator = PageGenerator([ink_source(kind, "validation")], wear=strength)
            rows[f"{kind}, {wear}"] = measure(recognizer, generator, chosen.pages, chosen.seed)
        every = [rows[f"{kind}, {wear}"] for kind in kinds]
        rows[f"all made, {wear}"] = together(every)
    print(f"{'pages':18}{'CER':>8}{'found':>9}{'false':>7}{'lines':>7}")
    for name, row in rows.items():
        print(f"{name:18}{row['cer']:8.4f}", end="")
        if "lines" in row:
            print(f"{row['found']:9.4f}{row['false']:7d}{row['lines']:7d}", end="")
        print()
    print(json.dumps({"benchmark": "accuracy", "threads": torch.get_num_threads(), "rows": rows}))


def measure(
    recognizer: ParagraphTextRecognizer, generator: PageGenerator, count: int, seed: int
) -> dict:
    """CER and lines found over `count` made pages."""
    edits = characters = found = false = lines = 0
    for index in tqdm(range(count), desc=generator.sources[0].kind, leave=False):
        page = generator.make([seed, index])
        reading = recognizer.read(Image.fromarray(page.image))
        wrong = character_edits(reading.text, page.text)
        right, besides = compare(reading.lines, page)
        edits, characters = edits + wrong.errors, characters + wrong.length
        found, false, lines = found + right, false + besides, lines + len(page.lines)
    return {
        "pages": count,
        "cer": edits / characters,
        "found": found / lines,
        "false": false,
        "lines": lines,
        "edits": edits,
        "characters": characters,
    }


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


def together(rows: list[dict]) -> dict:
    """Several groups as one."""
    total = {key: sum(row[key] for row in rows) for key in ("pages", "lines", "false", "edits")}
    characters = sum(row["characters"] for row in rows)
    found = sum(row["found"] * row["lines"] for row in rows) / total["lines"]
    return {**total, "characters": characters, "cer": total["edits"] / characters, "found": found}


if __name__ == "__main__":
    main()
