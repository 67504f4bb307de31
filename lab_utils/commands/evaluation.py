"""`lab evaluate`: how well the recognizer reads pages whose text is known."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import LanguageModel, Model
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing


class Kind(StrEnum):
    """What an image shows."""

    paragraph = "paragraph"
    line = "line"


def evaluate(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="LABELS", help="Labels files, or folders with a labels.json."),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="Read only these.")] = None,
    split: Annotated[str | None, typer.Option(help="Read only this split.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many of each.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pages at a time.")] = 8,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Write table.csv and the worst ten pages into this folder.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.")] = None,
    language_model: LanguageModel = "auto",
    kinds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Read generated photos instead of LABELS: this many pages of each kind.",
            metavar="N",
        ),
    ] = None,
    fonts: Annotated[bool, typer.Option(help="With --kinds: fonts, no real handwriting.")] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(help="With --kinds: only draw the photos, on a contact sheet (PNG)."),
    ] = None,
) -> None:
    """Measure CER and WER by group; the last line is JSON.

    Example: lab evaluate data/pages --split show --out .lab/evaluation

    Example: lab evaluate --kinds 4
    """
    if bool(sources) == bool(kinds):
        raise RecognizerError("Give LABELS, or --kinds with a number of pages; not both.")
    if (fonts or sheet) and not kinds:
        raise RecognizerError("--fonts and --sheet go with --kinds; give that as well.")
    if kinds:
        _evaluate_kinds(kinds, fonts, sheet, model, language_model)
        return
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


def _evaluate_kinds(
    count: int, fonts: bool, sheet: Path | None, model: Path | None, language_model: str
) -> None:
    """Prints the error rate for each kind of picture that people send; the last line is JSON."""
    from text_recognizer.evaluate.kinds import kind_rates, make_items
    from text_recognizer.pages.sheet import contact_sheet
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    items = make_items(count=count, real=not fonts)
    if sheet is not None:
        made = list(items)
        drawn = contact_sheet([item.picture for item in made], [item.kind for item in made])
        try:
            with replacing(sheet) as whole:
                drawn.save(whole, "PNG")
        except OSError as error:
            raise RecognizerError(
                f"{sheet} cannot be written ({error.strerror}); give another name to --sheet."
            ) from None
        print(sheet)
        return
    recognizer = ParagraphTextRecognizer(model, language_model=language_model)
    found = []
    for rates in kind_rates(recognizer, items):
        split = "" if rates.split is None else f"  split {rates.split:.3f}"
        print(f"{rates.kind:24} CER {rates.cer:.4f}  {rates.pictures} pictures{split}", flush=True)
        found.append(asdict(rates))
    print(json.dumps({"kinds": found}))
