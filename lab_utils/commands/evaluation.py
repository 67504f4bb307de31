"""`lab evaluate`: how well pages whose text is known are read."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import LanguageModel, Model


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
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Write table.csv and the worst ten pages into this folder.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.")] = None,
    language_model: LanguageModel = "auto",
) -> None:
    """Measure CER and WER by group; the last line is JSON.

    Example: lab evaluate data/pages --split show --out .lab/evaluation
    """
    import torch

    from text_recognizer.evaluate import evaluate, load_items
    from text_recognizer.evaluate.report import make_report_folder, rates_table, write_report
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    items = [item for source in sources for item in load_items(source, kind, split, limit)]
    if out is not None:
        make_report_folder(out)
    if threads is not None:
        torch.set_num_threads(threads)
    recognizer = ParagraphTextRecognizer(model, language_model=language_model)
    evaluation = evaluate(recognizer, items, batch_size)
    if out is not None:
        write_report(recognizer, evaluation, out)
    print(rates_table(evaluation))
    print(json.dumps(evaluation.summary()))
