"""`lab read` and `lab compile`: text from images."""

import dataclasses
import json
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_utils.commands.options import LanguageModel, Model
from text_recognizer.errors import FirstPageWarning, RecognizerError

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading, ParagraphTextRecognizer

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Files, http(s) URLs, base64 text or data URIs."),
    ],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object an image: text, lines with places, seconds."),
    ] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(
            help="Draw the lines found into this PNG; for several images a folder, or a name "
            "that gets numbers."
        ),
    ] = None,
    model: Model = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch URLs inside private networks.")
    ] = False,
    language_model: LanguageModel = "auto",
) -> None:
    """Read images of handwritten paragraphs.

    An image that cannot be read gives one line on stderr and exit code 2; the others are read.

    Example: lab read page.jpg --json --overlay lines.png
    """
    pictures = overlay_paths(overlay, images) if overlay else [None] * len(images)
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(
        model, allow_private_addresses=allow_private, language_model=language_model
    )
    failed = False
    for image, picture in zip(images, pictures, strict=True):
        try:
            with _notes_on_stderr():
                _read_one(recognizer, image, picture, as_json, heading=len(images) > 1)
        except RecognizerError as error:
            print(f"lab: {error}", file=sys.stderr)
            failed = True
    if failed:
        raise typer.Exit(2)


def compile_weights(
    out: Annotated[
        Path | None, typer.Option(help="The TorchScript file to write; else .lab/models.")
    ] = None,
) -> None:
    """Compile the packaged weights.

    The TorchScript file that is written is all that torch needs to read pages.
    """
    from text_recognizer.compile import compile_paragraph_reader

    start = time.perf_counter()
    out = compile_paragraph_reader(out)
    print(f"compiled in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    print(out)


def overlay_paths(target: Path, images: list[str]) -> list[Path]:
    """Where the picture of each image goes: all names differ, and none is an image that is read.

    `lines.png` stays as it is for one image and is numbered for several; a folder gets
    `lines-1.png` and so on. Raises RecognizerError for a file that is no picture.
    """
    is_folder = target.is_dir() or not target.suffix
    if not is_folder and target.suffix.lower() not in PICTURE_SUFFIXES:
        raise RecognizerError(
            f"{target} is no name for a picture: let it end in {', '.join(PICTURE_SUFFIXES)}."
        )
    name = target / "lines.png" if is_folder else target
    paths = [name]
    if is_folder or len(images) > 1:
        numbers = range(1, len(images) + 1)
        paths = [name.with_stem(f"{name.stem}-{number}") for number in numbers]
    for path in paths:
        # A base64 text may be too long to ask the file system about.
        if any(len(i) < 4096 and Path(i).resolve() == path.resolve() for i in images):
            raise RecognizerError(f"{path} is an image to read: give --overlay another name.")
    return paths


def _read_one(
    recognizer: "ParagraphTextRecognizer",
    image: str,
    picture: Path | None,
    as_json: bool,
    heading: bool,
) -> None:
    source: str | bytes = image
    if picture and re.match(r"\s*https?:", image, re.IGNORECASE):
        from text_recognizer.fetching import fetch

        # Once for the reading and the picture: the second answer might be another image.
        source = fetch(image, allow_private_addresses=recognizer.allow_private_addresses)
    reading = recognizer.read(source)
    if reading.note:
        print(f"lab: note: {reading.note}", file=sys.stderr)
    if picture:
        _draw(source, reading, picture)
    name = image if len(image) <= 200 else f"{image[:60]}..."
    if as_json:
        print(json.dumps({"image": name, **dataclasses.asdict(reading)}), flush=True)
    elif heading:
        print(f"==> {name} <==\n{reading.text}\n", flush=True)
    else:
        print(reading.text, flush=True)


def _draw(source: str | bytes, reading: "PageReading", picture: Path) -> None:
    """Writes the page as the network saw it (at most 1600 px) with the lines found on it."""
    from text_recognizer.images import load_image
    from text_recognizer.overlay import draw_lines

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FirstPageWarning)  # told when it was read
        loaded = load_image(source)
    drawn = draw_lines(loaded.page, reading.lines, loaded.page.width / loaded.width)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(picture)
    except OSError as error:
        reason = error.strerror or error
        raise RecognizerError(
            f"{picture} cannot be written ({reason}); give --overlay another name."
        ) from None


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """Shows what is worth a note about an image, such as pages left out, as one line."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"lab: note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", FirstPageWarning)
        warnings.showwarning = show
        yield
