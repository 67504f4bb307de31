"""The one way by which images come in: what a browser or a client sends becomes an image's bytes,
and never a path or an address of the sender's choice.

Gradio keeps uploads in one folder for all users and programs, and each program deletes the files in
it that have the same content as its own. So each process has a folder here, which goes when it
ends.
"""

import atexit
import os
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, computed_field

from lab_utils.app.limits import LEAST_UPLOAD_BYTES
from text_recognizer.errors import AddressError, ImageError
from text_recognizer.images import bytes_in_text

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "lab-app-"
_GONE = "The image is not among the uploaded ones; upload it once more."
_ADDRESS = re.compile(r"\s*(?!data:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class SentFile(BaseModel):
    """The value of an image or file input, as Gradio's clients send it: a file that was uploaded
    here, or a data URI. Nothing else of what they send goes on to Gradio."""

    model_config = ConfigDict(strict=True)

    path: str | None = None
    url: str | None = None

    @computed_field
    @property
    def meta(self) -> dict[str, str]:
        """What tells Gradio that this is a file."""
        return {"_type": "gradio.FileData"}

    def check(self) -> None:
        """Refuses files and addresses before Gradio looks at them: it fetches addresses by itself.

        Raises ImageError for a file that was not uploaded, and AddressError for an address.
        """
        if self.path is not None:
            _uploaded(self.path)
            self.url = None  # the page sends the upload's own address
        elif self.url is not None:
            _check_text(self.url)


def picture_in(value: dict | str | None) -> bytes:
    """The bytes of a picture that was sent.

    Args:
        value: a SentFile as a dict, base64 text, or a data URI.

    Raises ImageError and the like where there is no picture in it.
    """
    sent = value if isinstance(value, dict) else {"url": value}
    if sent.get("path") is not None:
        try:
            return _uploaded(sent["path"]).read_bytes()
        except OSError:  # deleted just now
            raise ImageError(_GONE) from None
    _check_text(sent.get("url"))
    return bytes_in_text(sent["url"])


def _uploaded(path: str) -> Path:
    """The file at a path, if Gradio keeps uploads there."""
    _refuse_address(path)
    try:
        found = Path(path).resolve()
        is_there = Path(path).is_absolute() and found.is_file()
        if is_there and found.is_relative_to(cache_folder().resolve()):
            return found
    except (OSError, RuntimeError, ValueError):  # a loop of links, a null byte
        pass
    raise ImageError(_GONE)


def _check_text(text: str | None) -> None:
    if not text or not text.strip():
        raise ImageError("No image was given; send it as base64 text or as a data URI.")
    _refuse_address(text)


def _refuse_address(text: str) -> None:
    if _ADDRESS.match(text):
        raise AddressError(
            "Addresses are not fetched here; send the image as base64 text or as a data URI."
        )


def use_cache_folder() -> None:
    """Points Gradio at a temporary folder, unless the user has named one.

    A folder that comes from the environment of another process of the lab belongs to that process.
    """
    given = Path(os.environ.get(_VARIABLE, _PREFIX)).name
    prefix = f"{_PREFIX}{os.getpid()}-"
    if given.startswith(_PREFIX) and not given.startswith(prefix):
        _delete_abandoned()
        os.environ[_VARIABLE] = folder = tempfile.mkdtemp(prefix=prefix)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def cache_folder() -> Path:
    """The folder that Gradio uses."""
    return Path(os.environ[_VARIABLE])


def cache_bytes() -> int:
    """Bytes that are kept there; a small file counts as LEAST_UPLOAD_BYTES."""
    kept = 0
    for folder, _, names in os.walk(cache_folder()):
        for name in names:
            with suppress(FileNotFoundError):  # Gradio deletes old ones
                kept += max(LEAST_UPLOAD_BYTES, os.stat(Path(folder, name)).st_size)
    return kept


def _delete_abandoned() -> None:
    """Deletes the folders of processes that are gone, for example after kill -9."""
    if sys.platform == "linux":
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
            process = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if process.isdigit() and not Path("/proc", process).exists():
                shutil.rmtree(folder, ignore_errors=True)  # another user's stays
