"""`lab pack` and `lab adopt`: data for a machine with a GPU, and what that machine brought back."""

from pathlib import Path
from typing import Annotated

import typer


def pack(
    out: Annotated[Path, typer.Option(help="The file to write, such as handwriting.npz.")],
    most_mb: Annotated[
        float, typer.Option(min=0.1, help="MB (10^6 bytes) that it may have; images get the rest.")
    ] = 40.0,
) -> None:
    """Pack the handwriting data into one file, for training on another machine.

    The file holds UNIPEN's strokes, Copiste's lines as small images, the handwriting fonts, and the
    split. Set LAB_DATA_PACK to its path and everything that makes pages reads it.

    Example: lab pack --out .lab/handwriting.npz --most-mb 40
    """
    from text_recognizer.pages.packing import pack_data

    packed = pack_data(out, round(most_mb * 1e6))
    print(
        f"{out}: {packed['bytes'] / 1e6:.1f} MB; {packed['items']:,} items of UNIPEN, "
        f"{packed['scans']:,} scanned lines (WebP, quality {packed['quality']}), "
        f"{packed['fonts']} fonts"
    )
