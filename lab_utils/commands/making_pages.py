"""`lab pages` and `lab fonts`: generated pages to look at and to train on, and their fonts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lab_utils.commands.options import writing_to


def pages(
    sheet: Annotated[
        Path | None, typer.Option(help="Write one picture of all pages to this PNG.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write JPEGs and labels.json into this folder.")
    ] = None,
    kind: Annotated[
        Literal["font", "pen", "scan", "mixed"],
        typer.Option(help="Where the writing comes from; pen and scan need the real data."),
    ] = "font",
    count: Annotated[int, typer.Option(min=1, help="Number of pages.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same pages.")] = 0,
    split: Annotated[
        Literal["train", "validation"],
        typer.Option(help="Validation has writers and fonts that training never sees."),
    ] = "train",
    label_split: Annotated[
        str | None, typer.Option(help="Split to note in labels.json. Default: that of --split.")
    ] = None,
    max_lines: Annotated[
        int | None, typer.Option(min=1, help="With --out: at most this many lines on a page.")
    ] = None,
    to_show: Annotated[
        bool,
        typer.Option("--to-show", help="For --out: whole sentences in fonts, with little wear."),
    ] = False,
) -> None:
    """Generate pages whose text is known.

    Example: lab pages --sheet sheet.png --kind font --count 12
    """
    if sheet is None and out is None:
        raise typer.BadParameter("say what to make: --sheet sheet.png, or --out FOLDER")
    from text_recognizer.pages.sheet import save_contact_sheet, save_pages

    if sheet is not None:
        with writing_to(sheet, "--sheet"):
            save_contact_sheet(sheet, kind, count, seed, split)
        print(sheet)
    if out is not None:
        limits = {} if max_lines is None else {"max_lines": max_lines}
        noted = label_split or split
        with writing_to(out):
            labels = save_pages(out, kind, count, seed, split, noted, to_show=to_show, **limits)
        print(labels)


def fonts() -> None:
    """Fetch the missing handwriting fonts with npm."""
    from text_recognizer.pages.fonts import fetch_fonts

    print(fetch_fonts())
