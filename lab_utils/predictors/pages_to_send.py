"""What of an image goes to a service: its own bytes where they fit, so that nothing is lost on the
way, else its pixels as the recognizer would load them, without loss where that fits."""

import base64
import dataclasses
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        if self.scaled is None:
            return reading
        return reading.in_px_of(self.scaled.width, self.scaled.height)


def page_to_send(source: ImageSource) -> PageToSend:
    """Returns an image as a service takes it.

    Paths, bytes, base64 texts and data URIs are sent as they are, so the service sees their EXIF
    orientation. URLs are left to the service to fetch. A PIL image, and whatever has more than
    4.6 MB, is sent gray and upright, in the px of which small writing is read: as PNG, or as JPEG
    where that is too large. If that is too large as well, it is the page of at most 1600 px a side,
    as PNG, which has no more than 2.6 MB.

    Raises:
        ImageError, ImageTooLargeError, AddressError: the image is none that the recognizer takes;
            what is no image is never sent.
    """
    if isinstance(source, str):
        return _from_text(source)
    if isinstance(source, LoadedImage):
        return _as_page(source)
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
    # The least effort: a harder one takes longer than it saves on the way.
    lossless: dict[str, Any] = {"format": "PNG", "compress_level": 1}
    ways = [(loaded.page, lossless)]
    if loaded.detail is not None:
        ways = [
            (loaded.detail, lossless),
            (loaded.detail, {"format": "JPEG", "quality": 92}),
            *ways,
        ]
    for picture, options in ways:
        stream = io.BytesIO()
        picture.save(stream, **options)
        if stream.tell() <= MAX_TEXT_BYTES // 4 * 3:
            break
    return PageToSend({"image": base64.b64encode(stream.getvalue()).decode()}, loaded)
