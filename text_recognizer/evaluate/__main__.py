"""The command `python -m text_recognizer.evaluate`: measure, tell, and leave table and pictures."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate import evaluate, load_items
from text_recognizer.evaluate.labels import KINDS
from text_recognizer.evaluate.report import write_table, write_worst_pages


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: table and pictures into --out, rates as one JSON line last. Returns 0 or 2."""
    parser = argparse.ArgumentParser(
        prog="python -m text_recognizer.evaluate",
        description="Measure CER and WER over images whose text is known.",
    )
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="LABELS",
        help="labels file, or a folder with labels.json",
    )
    parser.add_argument("--kind", choices=KINDS, help="read these alone")
    parser.add_argument("--split", help="read the items of this split alone")
    parser.add_argument("--limit", type=_positive, help="at most so many of each")
    parser.add_argument("--batch-size", type=_positive, default=8, help="pages at a time (8)")
    parser.add_argument("--model", type=Path, help="TorchScript file (the packaged weights)")
    parser.add_argument("--out", type=Path, help="folder for table.csv and the worst ten pages")
    parser.add_argument("--threads", type=_positive, help="threads of PyTorch (its default)")
    options = parser.parse_args(arguments)
    try:
        items = [
            item
            for source in options.sources
            for item in load_items(source, options.kind, options.split, options.limit)
        ]
        if options.out:
            _make_folder(options.out)
        recognizer = _load_recognizer(options.model, options.threads)
        evaluation = evaluate(recognizer, items, options.batch_size)
        if options.out:
            write_table(evaluation, options.out / "table.csv")
            write_worst_pages(recognizer, evaluation.worst(), options.out)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, rates in {**evaluation.groups, "all": evaluation.overall}.items():
        print(f"{name:24} CER {rates.cer:.4f}  WER {rates.wer:.4f}  {rates.images} images")
    print(json.dumps(evaluation.summary()))
    return 0


def _load_recognizer(model: Path | None, threads: int | None) -> Any:
    import torch

    from text_recognizer.paragraph_text_recognizer import (
        ParagraphTextRecognizer,
        default_model_path,
    )

    if threads:
        torch.set_num_threads(threads)
    # A file that LAB_MODEL names is the user's. Another is compiled anew: it may hold old weights.
    if model is None and not os.environ.get("LAB_MODEL"):
        from text_recognizer.compile import compile_paragraph_reader

        model = compile_paragraph_reader(default_model_path())
    return ParagraphTextRecognizer(model)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.csv").touch()  # now: what cannot be written is told before the reading
    except OSError as error:
        raise RecognizerError(
            f"Nothing can be written into {folder} ({error.strerror}); give --out another name."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
