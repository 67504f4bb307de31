"""A picture of the student's own handwriting: uploaded on Colab, put into a folder in JupyterLab.

Without one, a sample page takes its place, so that the notebooks run through.
"""

import os
import warnings
from pathlib import Path

from lab_utils.setup.project import on_colab
from text_recognizer.errors import FirstPageWarning, RecognizerError
from text_recognizer.images import load_image
from text_recognizer.places import PROJECT, SAMPLE_PAGES

MY_PAGES = PROJECT / "notebooks" / "my_pages"
"""Git ignores this folder: handwriting is personal."""

SAMPLE = SAMPLE_PAGES / "show_font_014.jpg"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif")


def students_page(folder: Path = MY_PAGES) -> Path:
    """The newest picture in the folder that can be read, or a sample page.

    On Colab an upload is offered first, and what is uploaded is put into the folder. Prints one
    line about the picture that is taken, and one about each newer one that can't be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if on_colab():
        _upload_to(folder)
    # What `lab notebooks build` stores is public, and holds no handwriting of yours.
    for path in [] if os.environ.get("LAB_BUILDING") else _newest_first(folder):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FirstPageWarning)  # shown when the page is read
                load_image(path)
        except RecognizerError as error:
            print(str(error).replace(str(path), path.name))
        else:
            print(f"Your page: {path.name}")
            return path
    print(
        f"There is no picture of yours in {os.path.relpath(folder, PROJECT)} yet: put one there "
        "and run this cell again. Until then, here is a sample page."
    )
    return SAMPLE


def _upload_to(folder: Path) -> None:
    """Asks for files; those that are chosen lie in the folder then, and nowhere else."""
    from google.colab import files

    for name, data in files.upload().items():
        (folder / Path(name).name).write_bytes(data)
        Path(name).unlink(missing_ok=True)  # Colab's own copy, in the current folder


def _newest_first(folder: Path) -> list[Path]:
    pictures = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(pictures, key=lambda path: (-path.stat().st_mtime, path.name))
