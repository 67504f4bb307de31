"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

LanguageModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="english, none, or a character model file; auto: LAB_LANGUAGE_MODEL, or english.",
    ),
]

Model = Annotated[
    Path | None,
    typer.Option(help="TorchScript file. Default: LAB_MODEL, the last fetched, or the packaged."),
]
