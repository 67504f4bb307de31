"""Options that several commands share."""

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
