"""What of an image goes to a service: its own bytes where they fit, so that nothing is lost on the
way, else exactly the page that the network would see, without loss."""

import base64
import dataclasses
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.service.schema import MAX_BODY_BYTES
from text_recognizer.images import FORMATS, ImageSource, LoadedImage, format_of, load_image

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

MAX_TEXT_BYTES = MAX_BODY_BYTES - 64 * 1024
"""Characters of an image's base64 text: what a request may have, less the JSON around it and what
a gateway puts around that."""


@dataclasses.dataclass(frozen=True)
class PageToSend:
    """One image in the form that a service takes."""

    fields: dict[str, str]
    """`image` or `image_url` of the request."""
    scaled: LoadedImage | None = None
    """The page that is sent in place of the image, where that is another picture."""

    def in_px_of_image(self, reading: "PageReading") -> "PageReading":
        """The service's reading with its coordinates in px of the image that the caller gave."""
        return reading if self.scaled is None else reading.in_px_of(self.scaled)


def page_to_send(source: ImageSource) -> PageToSend:
    """Returns an image as a service takes it.

    Paths, bytes, base64 texts and data URIs are sent as they are, so the service sees their EXIF
    orientation. URLs are left to the service to fetch. A PIL image, and whatever has more than
    4.6 MB, becomes its gray, upright page of at most 1600 px a side, as PNG: the recognizer makes
    the same page of it, pixel by pixel, and no such page has more than 2.6 MB.

    Raises:
        ImageError, ImageTooLargeError, AddressError: the image is none that the recognizer takes;
            what is no image is never sent.
    """
    if isinstance(source, str):
        return _from_text(source)
    data = _small_image_bytes(source)
    if data is None:
        return _as_page(load_image(source))
    return PageToSend({"image": base64.b64encode(data).decode()})


def _from_text(text: str) -> PageToSend:
    if re.match(r"\s*https?:", text, re.IGNORECASE):
        return PageToSend({"image_url": text.strip()})
    is_uri = text[:5].lower() == "data:"
    if not is_uri and os.path.exists(text):
        return page_to_send(Path(text))
    try:
        data = base64.b64decode(text.partition(",")[2] if is_uri else text, validate=True)
    except ValueError:
        data = b""
    fits = len(text) <= MAX_TEXT_BYTES and text.isascii()
    if not (fits and _is_image(data)):
        # What is no image is refused here, with the recognizer's own sentence.
        page = load_image(text)
        if not fits:
            return _as_page(page)
    return PageToSend({"image": text})


def _small_image_bytes(source: ImageSource) -> bytes | None:
    """The bytes of a path or of bytes that fit into a request and begin as an image; else None."""
    most = MAX_TEXT_BYTES // 4 * 3
    if isinstance(source, os.PathLike):
        try:
            if not os.path.isfile(source) or os.path.getsize(source) > most:
                return None
            with open(source, "rb") as file:
                data = file.read(most + 1)
        except (OSError, ValueError):
            return None
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        return None
    return data if len(data) <= most and _is_image(data) else None


def _is_image(data: bytes) -> bool:
    """Whether the bytes begin as an image that every service decodes."""
    return format_of(data[:32]) in FORMATS


def _as_page(loaded: LoadedImage) -> PageToSend:
    stream = io.BytesIO()
    # The least effort: a harder one takes longer than it saves on the way.
    loaded.page.save(stream, "PNG", compress_level=1)
    return PageToSend({"image": base64.b64encode(stream.getvalue()).decode()}, loaded)
