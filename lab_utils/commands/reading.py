"""`lab read` and `lab compile`: text from images."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import AllowPrivate, LanguageModel, Model, writing_to
from text_recognizer.errors import RecognizerError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PAGES_A_JOB = 4
"""By default a process is started for so many images at least: its start takes 3 s."""


Overlay = Annotated[
    Path | None,
    typer.Option(
        help="Draw the lines found into this PNG, or lines.png in this folder; for several images, "
        "it gets numbers."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that read at once. Default: as many as help."),
]


def read(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Files, folders of files, http(s) URLs, base64 text or data URIs."
        ),
    ],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A JSON object for each image: text, lines, seconds."),
    ] = False,
    overlay: Overlay = None,
    model: Model = None,
    allow_private: AllowPrivate = False,
    language_model: LanguageModel = "auto",
    jobs: Jobs = None,
) -> None:
    """Read images of handwritten paragraphs.

    Of a folder, all files are read in the order of their names, except hidden ones and those in
    folders inside it. Of a PDF or TIFF file, all pages are read. An image that cannot be read gives
    one line on stderr and exit code 2; the others are read.

    Example: lab read page.jpg --json --overlay lines.png
    """
    from tqdm import tqdm

    from lab_utils.reading_jobs import Answer, Job, Settings, read_all
    from text_recognizer.threads import usable_processors

    files = [file for image in images for file in _files(image)]
    pictures = overlay_paths(overlay, files) if overlay else [None] * len(files)
    settings = Settings(model, allow_private, language_model, as_json, heading=files != images[:1])
    processes = jobs or min(usable_processors(), max(1, len(files) // PAGES_A_JOB))
    failed = False

    def show(answer: Answer) -> None:
        nonlocal failed
        failed |= answer.failed
        with tqdm.external_write_mode(file=sys.stdout):
            for note in answer.notes:
                print(f"lab: {note}", file=sys.stderr)
            if answer.text is not None:
                print(answer.text, flush=True)
        bar.update()

    hidden = True if len(files) == 1 else None  # None: where stderr is no terminal
    with tqdm(total=len(files), unit="page", leave=False, disable=hidden, file=sys.stderr) as bar:
        tasks = [Job(*pair) for pair in zip(files, pictures, strict=True)]
        read_all(tasks, settings, min(processes, len(files)), show)
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

    with writing_to(out):
        written = compile_paragraph_reader(out)
    print(written)


def overlay_paths(target: Path, images: list[str]) -> list[Path]:
    """Where the picture of each image goes: numbered for several; none is an image that is read.

    In a folder that is there it is `lines.png`. Raises RecognizerError for a name of no picture.
    """
    if target.is_dir():
        target /= "lines.png"
    if target.suffix.lower() not in PICTURE_SUFFIXES:
        endings = ", ".join(PICTURE_SUFFIXES)
        raise RecognizerError(f"{target} is no name for a picture: let it end in {endings}.")
    paths = [target]
    if len(images) > 1:
        paths = [target.with_stem(f"{target.stem}-{n}") for n in range(1, len(images) + 1)]
    for path in paths:
        # A base64 text may be too long to ask the file system about.
        if any(len(i) < 4096 and Path(i).resolve() == path.resolve() for i in images):
            raise RecognizerError(f"{path} is an image to read: give --overlay another name.")
    return paths


def _files(image: str) -> list[str]:
    """The files of a folder by name; anything else as it is."""
    # Not Path.is_dir, which raises OSError for a base64 text that is too long for a name.
    if not os.path.isdir(image):
        return [image]
    found = [file for file in Path(image).iterdir() if not file.is_dir()]
    files = sorted(str(file) for file in found if not file.name.startswith("."))
    if not files:
        raise RecognizerError(f"There are no files in the folder {image}; give one with images.")
    return files
