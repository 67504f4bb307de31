"""What several commands share: options, groups, and how they say what is going on."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from text_recognizer.errors import RecognizerError
from text_recognizer.files import FULL

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


@contextlib.contextmanager
def writing_to(place: Path | None, option: str = "--out") -> Iterator[None]:
    """Where the file or folder that you gave with `option` can't be written, says so."""
    try:
        yield
    except OSError as error:
        if place is None or not _concerns(error, place):
            raise
        raise RecognizerError(
            f"{place} cannot be written ({error.strerror}); choose another one with {option}."
        ) from error


def _concerns(error: OSError, place: Path) -> bool:
    """Whether the system refused this place, something in it, or one of its folders."""
    if not isinstance(error.filename, str):
        return error.errno in FULL  # writing doesn't say where there was no room
    refused, asked = os.path.abspath(error.filename), os.path.abspath(place)
    return os.path.commonpath([refused, asked]) in (refused, asked)


def say(line: str) -> None:
    """Prints at once what is going on, apart from the command's result."""
    print(line, file=sys.stderr, flush=True)
