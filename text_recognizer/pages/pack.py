"""The handwriting data as one file, for a machine that has no network and little time.

`lab pack` writes it, and `LAB_DATA_PACK` names it. It is a ZIP archive of what the folders hold,
made small: UNIPEN's strokes with fewer points, Copiste's lines as WebP images, the fonts, and the
splits that they were made with. It is unpacked once into the lab's folder.
"""

import json
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError
from text_recognizer.files import sha256
from text_recognizer.places import lab_folder

VERSION = 2
ABOUT = "about.json"


class PackError(RecognizerError):
    """A pack that can't be read, is older than the code, or can't be made as small as asked."""


def check_pack(path: Path, made_of: dict[str, Any]) -> None:
    """Reads every byte of a pack, and writes nothing.

    Args:
        made_of: what the code expects (`pages.handwriting.pack_origin`); a pack made of something
            else is older than the code.

    Raises PackError, in one line, for a file that is missing, cut, no pack or an older one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(ABOUT))
            if archive.testzip() is not None:
                raise ValueError
    except FileNotFoundError:
        raise PackError(f"There is no pack at {path}; make one with `lab pack`.") from None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        raise PackError(
            f"{path.name} is cut, damaged or not a pack; make it with `lab pack`."
        ) from None
    if about != {"version": VERSION, "made_of": made_of}:
        raise PackError(
            f"The pack {path.name} does not fit this version of the code; make it again with "
            "`lab pack`."
        )


def unpacked(path: Path, made_of: dict[str, Any]) -> Path:
    """The folder of a pack's content, unpacked into the lab's folder if it is not there yet.

    Raises what `check_pack` does, and PackError if nothing can be written.
    """
    check_pack(path, made_of)
    folder = lab_folder() / "cache" / f"pack-{sha256(path)[:16]}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            whole = Path(scratch, folder.name)
            with zipfile.ZipFile(path) as archive:
                archive.extractall(whole)
            whole.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # or another process was faster
            raise PackError(
                f"{path.name} can't be unpacked into {folder.parent} ({error.strerror}); free "
                "space, or name another folder with LAB_HOME."
            ) from None
    return folder
