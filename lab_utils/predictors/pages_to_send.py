"""What of an image goes to a service: its own bytes if they fit, so that nothing is lost on the
way, else its pixels as the recognizer would load them, without loss if that fits."""

import base64
import io
import os
import re
from contextlib import suppress
from typing import NamedTuple

from lab_utils.service.schema import MAX_BODY_BYTES
from text_recognizer.errors import RecognizerError
from text_recognizer.images import (
    FORMATS,
    ImageSource,
    LoadedImage,
    bytes_in_text,
    format_of,
    load_image,
)

MAX_TEXT_BYTES = MAX_BODY_BYTES - 64 * 1024
"""Characters of an image's base64 text: what a request may have, less the JSON around it and what
a gateway puts around that."""

MAX_IMAGE_BYTES = MAX_TEXT_BYTES // 4 * 3


class PageToSend(NamedTuple):
    """One image in the form that a service takes."""

    fields: dict[str, str]
    """`image` or `image_url` of the request."""
    scaled: LoadedImage | None = None
    """The image, if another picture is sent in its place; its px are the caller's."""


def page_to_send(source: ImageSource) -> PageToSend:
    """Returns an image as a service takes it.

    The bytes of paths, base64 texts and data URIs are sent as they are, so the service sees their
    EXIF orientation. URLs are left to the service to fetch. A PIL image, and whatever has more than
    4.6 MB, is sent gray and upright, in the px of which small writing is read: as PNG, or as JPEG
    if that is too large. If that is too large as well, it is the page of at most 1600 px a side, as
    PNG, which has no more than 2.6 MB.

    Raises:
        ImageError, ImageTooLargeError, AddressError: the image is not one that the recognizer
            takes; what isn't an image is never sent.
    """
    if isinstance(source, str) and re.match(r"\s*https?:", source, re.IGNORECASE):
        return PageToSend({"image_url": source.strip()})
    data = _own_bytes(source)
    if data is not None and len(data) <= MAX_IMAGE_BYTES and format_of(data[:32]) in FORMATS:
        return PageToSend({"image": base64.b64encode(data).decode()})
    page = load_image(source)
    return PageToSend({"image": base64.b64encode(_encoded(page)).decode()}, page)


def _own_bytes(source: ImageSource) -> bytes | None:
    """The bytes of a file, a text or of bytes; None for what has none, or can't be read."""
    with suppress(OSError, ValueError, RecognizerError):  # load_image says what is wrong
        if isinstance(source, bytes | bytearray | memoryview):
            return bytes(source)
        if isinstance(source, str) and (source[:5] == "data:" or not os.path.exists(source)):
            return bytes_in_text(source)
        if isinstance(source, str | os.PathLike) and os.path.isfile(source):
            with open(source, "rb") as file:
                return file.read(MAX_IMAGE_BYTES + 1)
    return None


def _encoded(page: LoadedImage) -> bytes:
    # The least effort: a harder one takes longer than it saves on the way.
    lossless = {"format": "PNG", "compress_level": 1}
    ways = [(page.page, lossless)]
    if page.detail is not None:
        ways = [(page.detail, lossless), (page.detail, {"format": "JPEG", "quality": 92}), *ways]
    for picture, options in ways:
        stream = io.BytesIO()
        picture.save(stream, **options)
        if stream.tell() <= MAX_IMAGE_BYTES:
            break
    return stream.getvalue()
