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
_FORM = 'Send the image as {"url": "data:image/png;base64,..."}.'


def picture_in(payload: Any) -> Picture | None:
    """The picture in what Gradio makes of an image input's value; None where none was chosen.

    Gradio's own conversion would decode the image and encode it again, without its EXIF notes.

    Args:
        payload: `gradio.data_classes.ImageData` as a dict; `check_payload` has let it pass.

    Raises ImageError and the like where there is no picture in it.
    """
    if payload is None:
        return None
    if payload.get("path") is not None:
        return _uploaded(Path(payload["path"]))
    return data_uri(payload.get("url"))


def check_payload(value: Any, uploads: Path) -> None:
    """Refuses files and addresses in what a client sent, before Gradio looks at it.

    Gradio fetches addresses in the place of a path by itself. The files that pass are those that
    were uploaded to this app.

    Args:
        value: JSON value of one input.
        uploads: folder where Gradio keeps what was uploaded.

    Raises:
        AddressError: the value names an address.
        ImageError: the value names a file that was not uploaded, or is of another form.
    """
    if isinstance(value, list):
        for one in value:
            check_payload(one, uploads)
    elif isinstance(value, dict):
        if value.get("path") is not None:
            _check_path(value["path"], uploads)
        elif (url := value.get("url")) is not None:
            if not isinstance(url, str):
                raise ImageError(_FORM)
            data_uri(url)
        for name, one in value.items():
            if name not in ("path", "url"):
                check_payload(one, uploads)


def check_texts(value: Any) -> None:
    """Refuses addresses among the texts in `value`, a tool's arguments: Gradio would fetch them.

    Raises AddressError.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            check_texts(one)
    elif isinstance(value, str) and _is_address(value) and value[:5].lower() != "data:":
        raise AddressError(
            "Addresses are not fetched here; send the image as base64 text or as a data URI."
        )


def _check_path(path: Any, uploads: Path) -> None:
    if not isinstance(path, str) or "\0" in path:
        raise ImageError(_FORM)
    if _is_address(path):
        raise AddressError(f"Addresses are not fetched here. {_FORM}")
    try:
        found = Path(path).resolve()
        is_there = found.is_relative_to(uploads.resolve()) and found.is_file()
    except (OSError, RuntimeError):
        is_there = False
    if not Path(path).is_absolute() or not is_there:
        raise ImageError("The image is not among the uploaded ones; upload it once more.")


def data_uri(text: Any) -> str:
    """A data URI of what is one already, or base64 text.

    As a data URI, the recognizer cannot take it for a path or an address. Whether an image is in
    it shows when it is read.

    Raises:
        AddressError: the text is an address.
        ImageError: the value is no text, or an empty one.
        ImageTooLargeError: the text is too long to be decoded.
    """
    if not isinstance(text, str):
        raise ImageError("Send the image as base64 text or as a data URI.")
    if not text.strip():
        raise ImageError(NO_IMAGE)
    if len(text) > MAX_UPLOAD_BYTES * 3 // 2:
        raise ImageTooLargeError(
            f"The image has more than {MAX_UPLOAD_BYTES / 1e6:g} MB, the most that is read; "
            "make it smaller."
        )
    if text[:5].lower() == "data:":
        return text
    if _is_address(text):
        raise AddressError(
            "Addresses are not fetched here; send the image as base64 text or as a data URI."
        )
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


def _is_address(text: str) -> bool:
    return re.match(r"\s*[a-z][a-z0-9+.-]*:", text[:80], re.IGNORECASE) is not None


def _uploaded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_UPLOAD_BYTES + 1)
    except OSError:
        raise ImageError("The uploaded image is no longer there; upload it once more.") from None
    if len(data) > MAX_UPLOAD_BYTES:
        raise ImageTooLargeError(
            f"The image has more than {MAX_UPLOAD_BYTES / 1e6:g} MB, the most that is read; "
            "make it smaller."
        )
    return data
