"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

LanguageModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="english, none, or a file of a character model; auto: LAB_LANGUAGE_MODEL's, or "
        "english.",
    ),
]

Model = Annotated[
    Path | None,
    typer.Option(help="TorchScript file; else LAB_MODEL's, the one fetched last, or the packaged."),
]
