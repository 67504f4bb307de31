"""`lab evaluate`: how well pages whose text is known are read."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.loading import load_recognizer
from text_recognizer.errors import RecognizerError


class Kind(StrEnum):
    """What an image shows."""

    paragraph = "paragraph"
    line = "line"


def evaluate(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="LABELS", help="Labels files, or folders with a labels.json."),
    ],
    kind: Annotated[Kind | None, typer.Option(help="Read these alone.")] = None,
    split: Annotated[str | None, typer.Option(help="Read the items of this split alone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many of each.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pages at a time.")] = 8,
    model: Annotated[
        Path | None, typer.Option(help="TorchScript file; else the packaged weights.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write table.csv and the worst ten pages into this folder.")
    ] = None,
) -> None:
    """Measure CER and WER by group; the last line is JSON.

    Example: lab evaluate data/pages --split show --out .lab/evaluation
    """
    from text_recognizer.evaluate import evaluate, load_items
    from text_recognizer.evaluate.report import write_table, write_worst_pages

    items = [item for source in sources for item in load_items(source, kind, split, limit)]
    if out is not None:
        _make_folder(out)  # now: a name that does not work is told before the pages are read
    recognizer = load_recognizer(model)
    evaluation = evaluate(recognizer, items, batch_size)
    if out is not None:
        write_table(evaluation, out / "table.csv")
        write_worst_pages(recognizer, evaluation.worst(), out)
    for name, rates in {**evaluation.groups, "all": evaluation.overall}.items():
        print(f"{name:24} CER {rates.cer:.4f}  WER {rates.wer:.4f}  {rates.images} images")
    print(json.dumps(evaluation.summary()))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecognizerError(
            f"The folder {folder} cannot be made ({error.strerror}): give --out another name."
        ) from None
