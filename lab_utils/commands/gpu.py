"""`lab pack` and `lab adopt`: data for a machine with a GPU, and what that machine brought back."""

from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import writing_to


def pack(
    out: Annotated[Path, typer.Option(help="The file to write, such as handwriting.zip.")],
    most_mb: Annotated[
        float, typer.Option(min=0.1, help="Size limit in MB (10^6 bytes); images use what is left.")
    ] = 40.0,
) -> None:
    """Pack the handwriting data into one file, for training on another machine.

    The file holds UNIPEN's strokes, Copiste's lines as small images, the handwriting fonts, and the
    split. Set LAB_DATA_PACK to its path and everything that makes pages reads it.

    Example: lab pack --out .lab/handwriting.zip --most-mb 40
    """
    from text_recognizer.pages.packing import pack_data

    with writing_to(out):
        packed = pack_data(out, round(most_mb * 1e6))
    print(
        f"{out}: {packed['bytes'] / 1e6:.1f} MB; {packed['items']:,} items of UNIPEN, "
        f"{packed['scans']:,} scanned lines (WebP, quality {packed['quality']}), "
        f"{packed['fonts']} fonts"
    )


def adopt(
    folder: Annotated[Path, typer.Argument(help="What benchmarks/on_a_gpu.py left.")],
    pages: Annotated[
        int | None, typer.Option(min=1, help="Validation pages of each group; else all.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure and compare, and change nothing.")
    ] = False,
) -> None:
    """Adopt the results of a machine with a GPU: traces, and weights if they are better.

    Profile and traces go to data/traces with a card. The weights are measured on this machine, on
    the validation pages, with and without the language model, beside the packaged ones, which
    takes minutes; the rule by which they are packaged is printed.

    Example: lab adopt on-a-gpu
    """
    import tempfile

    from lab_utils import adoption

    result = adoption.read_result(folder)
    for name, step in result.steps.items():
        print(f"{name}: {step.get('status')}")
    if not dry_run:
        recorded = adoption.adopt_traces(folder, result)
        print(f"traces: {recorded or 'there is no profile in the folder'}")
    with tempfile.TemporaryDirectory(prefix="lab-adopt-") as scratch:
        reader = adoption.joined_reader(folder, Path(scratch) / adoption.READER)
        if reader is None:
            print("weights: there are none in the folder")
            return
        print(adoption.RULE)
        each = f"{pages} pages" if pages else "all validation pages"
        print(
            f"Reading {each} of each group four times: new and packaged weights, without and with "
            "the language model. That takes minutes; --pages 10 takes fewer.",
            flush=True,
        )
        against = _compared(reader, Path(scratch) / "pages", pages)
        if against:
            print(f"Not packaged: {'; '.join(against)}.")
        elif dry_run:
            print("Better by the rule; without --dry-run they are packaged.")
        else:
            print(f"Packaged: {adoption.package(reader)}. Add a row to data/weights/README.md.")


def _compared(reader: Path, scratch: Path, pages: int | None) -> list[str]:
    """Prints how new and packaged weights read, and returns what speaks against the new ones."""
    from lab_utils import adoption
    from text_recognizer.evaluate.validation import write_pages

    written = [write_pages(scratch / group, [group])[:pages] for group in adoption.GROUPS]
    new, old = adoption.compare(reader, [item for items in written for item in items])
    for name, value in new.items():
        print(f"{name:16} {value:.4f} (packaged {old[name]:.4f})")
    return adoption.objections(new, old)
