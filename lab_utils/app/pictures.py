"""The one way by which images come in: what a browser or a client sends becomes an image's bytes,
and never a path or an address of the sender's choice."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_utils.app.limits import MAX_UPLOAD_BYTES
from text_recognizer.errors import AddressError, ImageError, ImageTooLargeError
from text_recognizer.images import bytes_in_text

_NO_IMAGE = "No image was given; send it as base64 text or as a data URI."
_NO_ADDRESSES = "Addresses are not fetched here; send the image as base64 text or as a data URI."
_TOO_LARGE = (
    f"The image has more than {MAX_UPLOAD_BYTES / 1e6:g} MB, the most that is read; make it "
    "smaller."
)


def picture_in(value: dict | str | None) -> bytes:
    """The bytes in the value of an image input, or in base64 text or a data URI.

    Gradio's own conversion would decode the image and encode it again, without its orientation.

    Args:
        value: text, or `gradio.data_classes.ImageData` as a dict; `check_payload` has let it pass.

    Raises ImageError and the like where there is no picture in it.
    """
    if isinstance(value, dict) and value.get("path") is not None:
        try:
            with Path(value["path"]).open("rb") as file:
                data = file.read(MAX_UPLOAD_BYTES + 1)
        except OSError:
            raise ImageError("The uploaded image is gone; upload it once more.") from None
        if len(data) > MAX_UPLOAD_BYTES:
            raise ImageTooLargeError(_TOO_LARGE)
        return data
    text = value.get("url") if isinstance(value, dict) else value
    _check_text(text)
    return bytes_in_text(text)


def check_payload(value: Any, uploads: Path) -> None:
    """Refuses files and addresses in what a client sent, before Gradio looks at it.

    Gradio fetches addresses in the place of a path by itself. The files that pass are those that
    were uploaded to this app.

    Args:
        value: JSON value of one input, or a list of them.
        uploads: folder where Gradio keeps what was uploaded.

    Raises:
        AddressError: the value names an address.
        ImageError: the value names a file that was not uploaded, or is of another form.
    """
    for one in _all_values(value):
        if isinstance(one, dict) and one.get("path") is not None:
            _check_path(one["path"], uploads)
        elif isinstance(one, dict) and one.get("url") is not None:
            _check_text(one["url"])


def _check_text(text: Any) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ImageError(_NO_IMAGE)
    if len(text) > MAX_UPLOAD_BYTES * 3 // 2:
        raise ImageTooLargeError(_TOO_LARGE)
    if _is_address(text) and text[:5].lower() != "data:":
        raise AddressError(_NO_ADDRESSES)


def _all_values(value: Any) -> Iterator[Any]:
    """A JSON value and all values inside it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one


def _check_path(path: Any, uploads: Path) -> None:
    if isinstance(path, str) and _is_address(path):
        raise AddressError(_NO_ADDRESSES)
    try:
        found = Path(path).resolve()
        is_there = Path(path).is_absolute() and found.is_file()
        if is_there and found.is_relative_to(uploads.resolve()):
            return
    except (OSError, RuntimeError, TypeError, ValueError):  # a loop of links, a list, a null byte
        pass
    raise ImageError("The image is not among the uploaded ones; upload it once more.")


def _is_address(text: str) -> bool:
    return re.match(r"\s*[a-z][a-z0-9+.-]*:", text[:80], re.IGNORECASE) is not None
