"""What several commands share: options, groups, and how they say what is going on."""

import sys
from pathlib import Path
from typing import Annotated

import typer

AllowPrivate = Annotated[
    bool, typer.Option("--allow-private", help="Also fetch URLs inside private networks.")
]

AppPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="The app's. Default: 7860, or a free one.")
]

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

Workers = Annotated[int, typer.Option(min=1, max=64, help="Functions that read at the same time.")]


def group(help: str, **options: object) -> typer.Typer:
    """Commands that belong together; help and errors are plain text, in a terminal as in a log."""
    return typer.Typer(help=help, no_args_is_help=True, rich_markup_mode=None, **options)


def say(line: str) -> None:
    """Prints at once what is going on, apart from the command's result."""
    print(line, file=sys.stderr, flush=True)
