"""Makes a data pack out of the folders of handwriting and fonts."""

from pathlib import Path
from typing import Any

from text_recognizer.pages.fonts import TRAINING_FONTS, UNSEEN_FONTS, fetch_fonts, font_path
from text_recognizer.pages.handwriting import handwriting_folder, pack_origin
from text_recognizer.pages.pack import PackError, write_pack
from text_recognizer.pages.scans import read_lines
from text_recognizer.pages.unipen import read_arrays


def pack_data(out: Path, most_bytes: int) -> dict[str, Any]:
    """Writes all the handwriting data that training and validation need into one file.

    Returns what `write_pack` does. Raises HandwritingMissingError or NpmError where the
    data is not on this machine, and PackError where it does not fit or can't be written.
    """
    folder = handwriting_folder()
    fonts = fetch_fonts()
    names = [font_path(name, fonts) for name in TRAINING_FONTS + UNSEEN_FONTS]
    scans = [
        {key: line[key] for key in ("file", "page", "text_ascii")} for line in read_lines(folder)
    ]
    try:
        return write_pack(out, most_bytes, read_arrays(folder), scans, folder, names, pack_origin())
    except OSError as error:
        raise PackError(
            f"{out} can't be written ({error.strerror or error}); name another file or free space."
        ) from None
