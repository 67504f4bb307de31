"""`lab evaluate`: how well the recognizer reads pages whose text is known."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import LanguageModel, Model, writing_to
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing


def evaluate(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="LABELS", help="Labels files, or folders with a labels.json."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Read only this split.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many of each.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pages at a time.")] = 8,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Write table.csv and the worst ten pages into this folder.")
    ] = None,
    language_model: LanguageModel = "auto",
    kinds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Read N generated photos of each kind instead."),
    ] = None,
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
    if sheet and not kinds:
        raise RecognizerError("--sheet goes with --kinds; give that as well.")
    if kinds:
        return _evaluate_kinds(kinds, sheet, model, language_model)
    from text_recognizer.evaluate import evaluate, load_items
    from text_recognizer.evaluate.report import rates_table, write_report
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    items = [item for source in sources for item in load_items(source, split=split, limit=limit)]
    if out is not None:
        with writing_to(out):  # a name that can't be used is reported at once
            out.mkdir(parents=True, exist_ok=True)
    recognizer = ParagraphTextRecognizer(model, language_model=language_model)
    evaluation = evaluate(recognizer, items, batch_size)
    print(rates_table(evaluation))
    print(json.dumps(evaluation.summary()), flush=True)
    if out is not None:
        with writing_to(out):
            write_report(recognizer, evaluation, out)


def _evaluate_kinds(
    count: int, sheet: Path | None, model: Path | None, language_model: str
) -> None:
    """Prints the error rate for each kind of picture that people send; the last line is JSON."""
    from text_recognizer.evaluate.kinds import kind_rates, make_items
    from text_recognizer.pages.handwriting import HandwritingMissingError, handwriting_source
    from text_recognizer.pages.sheet import contact_sheet
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    try:
        has_handwriting = bool(handwriting_source())
    except HandwritingMissingError:
        has_handwriting = False
        print("The handwriting data is not here; the writing is in fonts.", file=sys.stderr)
    items = make_items(count=count, real=has_handwriting)
    if sheet is not None:
        made = list(items)
        with writing_to(sheet, "--sheet"), replacing(sheet) as whole:
            contact_sheet([m.picture for m in made], [m.kind for m in made]).save(whole, "PNG")
        print(sheet)
        return
    recognizer = ParagraphTextRecognizer(model, language_model=language_model)
    found = []
    for rates in kind_rates(recognizer, items):
        split = "" if rates.split is None else f"  split {rates.split:.3f}"
        print(f"{rates.kind:24} CER {rates.cer:.4f}  {rates.pictures} pictures{split}", flush=True)
        found.append(asdict(rates))
    print(json.dumps({"kinds": found}))
