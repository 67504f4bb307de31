"""The one way by which images come in: what a browser or a client sends becomes an image that the
recognizer takes, and never a path or an address of the sender's choice."""

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_utils.app.limits import MAX_UPLOAD_BYTES
from text_recognizer.documents import is_document
from text_recognizer.errors import AddressError, ImageError, ImageTooLargeError
from text_recognizer.images import LoadedImage, load_pages

Picture = bytes | str
"""An image's bytes, or a data URI that holds them."""

NO_IMAGE = "No image was given; send it as base64 text or as a data URI."
_NO_ADDRESSES = "Addresses are not fetched here; send the image as base64 text or as a data URI."
_TOO_LARGE = (
    f"The image has more than {MAX_UPLOAD_BYTES / 1e6:g} MB, the most that is read; make it "
    "smaller."
)


def picture_in(payload: dict | None) -> Picture | None:
    """The picture in the value of an image input; None where none was chosen.

    Gradio's own conversion would decode the image and encode it again, without its EXIF notes.

    Args:
        payload: `gradio.data_classes.ImageData` as a dict; `check_payload` has let it pass.

    Raises ImageError and the like where there is no picture in it.
    """
    if payload is None:
        return None
    if payload.get("path") is None:
        return data_uri(payload.get("url"))
    try:
        with Path(payload["path"]).open("rb") as file:
            data = file.read(MAX_UPLOAD_BYTES + 1)
    except OSError:
        raise ImageError("The uploaded image is no longer there; upload it once more.") from None
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLargeError(_TOO_LARGE)
    return data


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
            data_uri(one["url"])


def check_texts(value: Any) -> None:
    """Raises AddressError for addresses among the texts in `value`, which Gradio would fetch."""
    for one in _all_values(value):
        if isinstance(one, str) and _is_address(one) and not _is_data_uri(one):
            raise AddressError(_NO_ADDRESSES)


def data_uri(text: Any) -> str:
    """A data URI of what is one already, or base64 text.

    As a data URI, the recognizer cannot take it for a path or an address. Whether an image is in
    it shows when it is read.

    Raises:
        AddressError: the text is an address.
        ImageError: the value is no text, or an empty one.
        ImageTooLargeError: the text is too long to be decoded.
    """
    if not isinstance(text, str) or not text.strip():
        raise ImageError(NO_IMAGE)
    if len(text) > MAX_UPLOAD_BYTES * 3 // 2:
        raise ImageTooLargeError(_TOO_LARGE)
    if _is_data_uri(text):
        return text
    if _is_address(text):
        raise AddressError(_NO_ADDRESSES)
    return f"data:;base64,{text}"


def pages_in(picture: Picture) -> Iterator[Picture | LoadedImage]:
    """The pages of a PDF or TIFF, each loaded when it is asked for; any other picture itself."""
    if isinstance(picture, bytes) and is_document(picture):
        return load_pages(picture)
    return iter([picture])


def picture_bytes(picture: Picture) -> bytes:
    """The bytes of a picture that was read."""
    if isinstance(picture, bytes):
        return picture
    text = picture.partition(",")[2].translate({ord("-"): "+", ord("_"): "/"})
    text = "".join(text.split()).rstrip("=")
    return b64decode(text + "=" * (-len(text) % 4))


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


def _is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:"


def _is_address(text: str) -> bool:
    return re.match(r"\s*[a-z][a-z0-9+.-]*:", text[:80], re.IGNORECASE) is not None
