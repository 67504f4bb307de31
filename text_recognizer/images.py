"""Turns whatever a user hands over as an image into one gray, upright page of bounded size.
What comes in may be damaged or hostile, so everything is measured before it is decoded."""

import base64
import binascii
import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

# Image.open would load all of Pillow's plugins to look for one that is missing here.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from text_recognizer.decoding import decode, decode_page, one_budget
from text_recognizer.documents import document_page, is_document, is_pdf
from text_recognizer.errors import (
    AddressError,
    FirstPageWarning,
    ImageError,
    ImageTooLargeError,
    RecognizerError,
)
from text_recognizer.fetching import fetch
from text_recognizer.limits import (
    MAX_BASE64_BYTES,
    MAX_DETAIL_PIXELS,
    MAX_FILE_BYTES,
    MAX_IMAGE_PIXELS,
    MAX_PAGE_SIDE,
    MAX_WEBP_PIXELS,
    MIN_IMAGE_SIDE,
    PAGE_SECONDS,
)

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF")
_FORMATS_IN_WORDS = "PNG, JPEG, GIF, TIFF, WebP, AVIF, BMP or PPM"
_SIGNATURES = re.compile(
    rb"(?P<PDF>%PDF-)|(?P<PNG>\x89PNG)|(?P<JPEG>\xff\xd8\xff)|(?P<GIF>GIF8)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<WEBP>RIFF....WEBP)|(?P<BMP>BM)|(?P<PPM>P[1-6]\s)"
    rb"|(?P<HEIF>....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1))|(?P<AVIF>....ftyp)",
    re.DOTALL,
)
_PAGED_FORMATS = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")

# Pillow's own table is hidden in ImageOps.exif_transpose, which needs the unscaled image.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class LoadedImage(NamedTuple):
    """A page for the network, and what is needed to speak of it in the original's px."""

    page: Image.Image
    """Mode "L", upright, longest side at most MAX_PAGE_SIDE px."""
    width: int
    """Width of the original in px, upright."""
    height: int
    """Height of the original in px, upright."""
    detail: Image.Image | None = None
    """The same in more px (at most MAX_DETAIL_PIXELS), of which small writing is read; None if the
    original has no more than the page."""

    @property
    def scale(self) -> tuple[float, float]:
        """Original px for one px of the page, in x and in y."""
        return self.width / self.page.width, self.height / self.page.height

    def mirrored(self) -> "LoadedImage":
        """As a mirror shows it."""
        detail = self.detail and self.detail.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._replace(
            page=self.page.transpose(Image.Transpose.FLIP_LEFT_RIGHT), detail=detail
        )


ImageSource = Image.Image | LoadedImage | str | os.PathLike | bytes | bytearray | memoryview
"""PIL image, an image that is loaded already, path, http(s) URL, image bytes, base64 text or data
URI."""


def load_image(source: ImageSource, *, allow_private_addresses: bool = False) -> LoadedImage:
    """Returns the image as a gray, upright page of at most MAX_PAGE_SIDE px.

    A `str` is a data URI, a URL, the path of a file that exists, or base64 text, in this order.
    Images are turned as their EXIF orientation says. Transparent ones get the paper that their
    ink asks for (see `_on_paper`). 16-bit, 32-bit and float gray is scaled to 8 bits. Of a file
    with several pages or frames the first is taken, with a `FirstPageWarning`. A PIL image is
    taken as it stands and never changed. A file of yours is decoded in this process; bytes, texts
    and what comes from a URL in a worker with the limits DECODE_SECONDS and DECODE_BYTES.

    Args:
        source: PIL image, path, http(s) URL, image bytes, base64 text or data URI. One that is
            loaded already is returned as it is.
        allow_private_addresses: see `fetching.fetch`.

    Raises:
        ImageError: the image is missing, damaged, too small or of another format.
        ImageTooLargeError: it has more bytes or pixels than `text_recognizer.limits` allows.
        AddressError, DownloadError: see `fetching.fetch`.
    """
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, Image.Image):
        with _decoder_errors("The image"):
            return _to_page(source, "The image")
    if isinstance(source, os.PathLike):
        return _from_path(os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source), "The image")
    if not isinstance(source, str):
        raise ImageError(
            "Give the image as a PIL image, path, http(s) URL, bytes, base64 text or data URI, "
            f"not as {type(source).__name__}."
        )
    if source[:5].lower() == "data:":
        return _from_bytes(bytes_in_text(source), "The data URI's image")
    if re.match(r"\s*https?:", source, re.IGNORECASE):
        data = fetch(source, allow_private_addresses=allow_private_addresses)
        return _from_bytes(data, "The downloaded image")
    if re.match(r"\s*[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        raise AddressError(
            "Only http:// and https:// addresses are fetched; "
            "for another kind, download the image and give the file."
        )
    if not os.path.exists(source) and _is_base64_image(source):
        return _from_bytes(_decode_base64(source), "The base64 text's image")
    return _from_path(source)


def _from_path(path: str | bytes) -> LoadedImage:
    name = printable(os.fsdecode(path))
    if not path:
        raise ImageError("No image was given; give a path, URL or base64 text.")
    if os.path.isdir(path):
        raise ImageError(f"{name} is a folder; give an image file in it.")
    with _opened(path, name) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name} is a device or pipe; give a regular image file.")
        _check_bytes(status.st_size, MAX_FILE_BYTES, name)
        return _decode(stream, name)


def _opened(path: str | bytes, name: str) -> BinaryIO:
    try:
        return open(path, "rb", opener=_open_at_once)
    except PermissionError:
        raise ImageError(f"{name} may not be read; check the file's permissions.") from None
    except (OSError, ValueError):
        raise ImageError(f"{name} was not found; check the path.") from None


def _open_at_once(path: str | bytes, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe waits for somebody to write.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _from_bytes(data: bytes, name: str) -> LoadedImage:
    """Bytes may come from anybody, so a worker decodes them; see `text_recognizer.decoding`."""
    _check_bytes(len(data), MAX_FILE_BYTES, name)
    return LoadedImage(*decode(data, name))


def decode_here(data: bytes, name: str) -> LoadedImage:
    """Decodes an image's bytes in this process, without limits of time and memory."""
    return _decode(io.BytesIO(data), name)


def decode_page_here(data: bytes, name: str, number: int) -> tuple[LoadedImage, int]:
    """Decodes a page of a PDF or TIFF in this process; see `documents.document_page`."""
    with _decoder_errors(name):
        page, count = document_page(data, name, number)
        return _to_page(page, f"Page {number + 1} of {name}"), count


def bytes_in_text(text: str) -> bytes:
    """The bytes in a data URI or base64 text; raises ImageError, ImageTooLargeError."""
    return _decode_data_uri(text) if text[:5].lower() == "data:" else _decode_base64(text)


def format_of(start: bytes) -> str | None:
    """The format that a file's first bytes promise, by Pillow's name or "PDF"; None for no image.

    Decodes nothing, so it is safe for any bytes.
    """
    found = _SIGNATURES.match(start)
    return found and next(name for name, value in found.groupdict().items() if value)


def _is_base64_image(text: str) -> bool:
    """Whether text that names no file begins as the base64 of an image does.

    Judged only by the first bytes: text which is damaged further on is still base64, and its
    error should say so.
    """
    start = re.sub(r"\s", "", text[:64])[:24]
    if len(start) < 24 or not re.fullmatch(r"[A-Za-z0-9+/_-]+", start):
        return False
    return format_of(base64.b64decode(start, altchars=_alphabet(start))) is not None


def _alphabet(text: str) -> bytes:
    return b"-_" if "-" in text or "_" in text else b"+/"


def _decode_base64(text: str) -> bytes:
    # Line breaks and padding are all that may be there besides the data.
    text = re.sub(r"\s", "", text).rstrip("=")
    if len(text) * 3 // 4 > MAX_BASE64_BYTES:
        raise _too_many_bytes("The base64 text's image", MAX_BASE64_BYTES)
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=_alphabet(text), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("The base64 text is damaged; encode the image once more.") from None


def _decode_data_uri(uri: str) -> bytes:
    header, comma, data = uri.partition(",")
    if not comma:
        raise ImageError("The data URI has no data; give data:image/png;base64,...")
    if header.lower().rstrip().endswith(";base64"):
        return _decode_base64(data.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="))
    if len(data) > MAX_BASE64_BYTES * 1.5:
        raise _too_many_bytes("The data URI's image", MAX_BASE64_BYTES)
    return unquote_to_bytes(data)


def printable(name: str) -> str:
    """A file's name as a line shows it: without what would break the line or command a terminal,
    and not longer than a line."""
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= 200 else f"{name[:60]}...{name[-60:]}"


def image_name(source: str) -> str:
    """What to call an image that a user named: a base64 text is too long for a line."""
    return source if len(source) <= 200 else f"{source[:60]}..."


def _too_many_bytes(name: str, limit: int) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{name} has more than {limit / 1e6:g} MB, the most that is read; make it smaller."
    )


def _check_bytes(count: int, limit: int, name: str) -> None:
    if count == 0:
        raise ImageError(f"{name} is empty; give an image with content.")
    if count > limit:
        raise _too_many_bytes(name, limit)


def _check_pixels(width: int, height: int, limit: int, name: str) -> None:
    if width * height > limit:
        raise ImageTooLargeError(
            f"{name} has {width} x {height} pixels, and at most {limit // 10**6} million are read; "
            "make it smaller."
        )


@contextmanager
def _decoder_errors(name: str) -> Iterator[None]:
    """Turns what a decoder may raise into one of our errors.

    On damaged data Pillow's decoders raise nearly any exception (OSError, SyntaxError,
    struct.error, KeyError, zlib.error, ...), so all of them are caught here.
    """
    try:
        yield
    except RecognizerError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not an image in {_FORMATS_IN_WORDS} format; save it as PNG or JPEG."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise ImageTooLargeError(
            f"{name} is too large to be decoded (at most {MAX_IMAGE_PIXELS // 10**6} million "
            "pixels are read); make it smaller."
        ) from None
    except Exception:
        raise ImageError(f"{name} is damaged or cut off; save or copy it once more.") from None


def _decode(stream: BinaryIO, name: str) -> LoadedImage:
    formats = FORMATS
    start = stream.read(1024)
    if is_pdf(start):
        stream.seek(0)
        page, count = decode_page_here(stream.read(), name, 0)
        if count > 1:
            _warn_of_more("pages", name)
        return page
    if format_of(start) == "HEIF":
        _prepare_heic(name)
        formats = ("HEIF",)
    if start[8:16] == b"WEBPVP8X":  # its decoder makes the canvas before Pillow knows the size
        sides = (1 + int.from_bytes(start[at : at + 3], "little") for at in (24, 27))
        _check_pixels(*sides, MAX_WEBP_PIXELS, name)
    stream.seek(0)
    with _decoder_errors(name), Image.open(stream, formats=formats) as image:
        if image.format in ("WEBP", "AVIF", "HEIF"):
            _check_pixels(*image.size, MAX_WEBP_PIXELS, name)
        page = _to_page(image, name, draft=True)
        several = image.format in _PAGED_FORMATS and getattr(image, "is_animated", False)
        parts = "pages" if image.format == "TIFF" else "frames"
    if several:
        _warn_of_more(parts, name)
    return page


def _warn_of_more(parts: str, name: str) -> None:
    message = f"{name} has several {parts}; only the first is read."
    warnings.warn(message, FirstPageWarning, stacklevel=2)


def load_pages(
    source: str | os.PathLike | bytes, *, allow_private_addresses: bool = False
) -> Iterator[LoadedImage]:
    """The pages of a PDF or TIFF, one after another, each loaded when it is asked for; for any
    other image its one page, as `load_image` returns it. The pages of a document that is no file
    of yours share DECODE_SECONDS, and each adds PAGE_SECONDS to what is left of it.

    Args:
        source: path or bytes of the document; see `load_image` for what else.

    Raises:
        ImageError, ImageTooLargeError: see `load_image` and `text_recognizer.documents`.
    """
    data, name, decoded = b"", "The document", decode_page
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | os.PathLike) and os.path.isfile(source):
        name, decoded = printable(os.fsdecode(source)), decode_page_here  # a file of yours
        _check_bytes(os.path.getsize(source), MAX_FILE_BYTES, name)
        with _opened(os.fspath(source), name) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if not is_document(data):
        yield load_image(source, allow_private_addresses=allow_private_addresses)
        return
    _check_bytes(len(data), MAX_FILE_BYTES, name)
    number, count, budget = 0, 1, None
    while number < count:
        with one_budget(budget) as budget:
            page, count = decoded(data, name, number)
        budget.refill(PAGE_SECONDS)
        yield LoadedImage(*page)
        number += 1


def _prepare_heic(name: str) -> None:
    """Lets Pillow open what iPhones take. The extra `heic` brings the decoder."""
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(
            f"{name} is a HEIC picture, which needs pillow-heif: run "
            "`pip install -e '.[heic]' -c constraints.txt`, or save it as JPEG."
        ) from None
    pillow_heif.register_heif_opener()


def _to_page(image: Image.Image, name: str, draft: bool = False) -> LoadedImage:
    size = image.size
    _check_pixels(*size, MAX_IMAGE_PIXELS, name)
    if image.format == "TIFF":
        # libtiff decodes whole tiles, which may be larger than the image itself.
        width = image.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0)
        height = image.tag_v2.get(TiffImagePlugin.TILELENGTH, 0)
        _check_pixels(width, height, MAX_IMAGE_PIXELS, name)
    if min(size) < MIN_IMAGE_SIDE:
        raise ImageError(
            f"{name} has {size[0]} x {size[1]} pixels, too few for writing; "
            f"give one of at least {MIN_IMAGE_SIDE} x {MIN_IMAGE_SIDE}."
        )
    factor = min(1.0, MAX_PAGE_SIDE / max(size))
    page_size = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    detail_size = _detail_size(size)
    if draft:
        # JPEG decodes straight to gray, and to a half, a quarter or an eighth of its size. That
        # scaling lets fine patterns through, so the last factor of two is left to `resize`.
        image.draft("L", (max(2 * page_size[0], detail_size[0]), 2 * page_size[1]))
    image.load()
    orientation = _orientation(image)
    detail = None
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        page = _to_8_bits(image, page_size, name)
    else:
        page = _to_gray(image)
        if page.width * page.height > page_size[0] * page_size[1]:
            detail = page
    if page.size != page_size:
        page = page.resize(page_size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    elif page is image:
        page = image.copy()
    if detail is not None and detail.width * detail.height > MAX_DETAIL_PIXELS:
        detail = detail.resize(detail_size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if orientation in _UPRIGHT:
        page = page.transpose(_UPRIGHT[orientation])
        detail = detail and detail.transpose(_UPRIGHT[orientation])
        if orientation >= 5:
            size = size[1], size[0]
    return LoadedImage(page, *size, detail)


def _detail_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (width, height) in which small writing is read."""
    factor = min(1.0, math.sqrt(MAX_DETAIL_PIXELS / (size[0] * size[1])))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # A damaged note on the camera is no reason to refuse a sound picture.
        return 1


def _to_gray(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.has_transparency_data:
        return _on_paper(image)
    return image.convert("L") if image.mode != "L" else image


def _to_8_bits(image: Image.Image, size: tuple[int, int], name: str) -> Image.Image:
    """Gray of any depth as mode "L", scaled down to (width, height) first to save memory.

    Values from 0 keep their full scale: 1 for floats, else the smallest usual depth (8, 10, 12,
    14 or 16 bits) that holds them, so that a 16-bit copy of a page equals the 8-bit one. Any
    other range is stretched from its least to its greatest value.
    """
    values = image if image.mode in ("I", "F", "I;16") else image.convert("I")
    low, high = values.getextrema()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(f"{name} holds values that are no numbers; save it as PNG or JPEG.")
    scales = [2**bits - 1 for bits in (8, 10, 12, 14, 16)]
    if image.mode == "F":
        scales.insert(0, 1)
    full = next((scale for scale in scales if high <= scale), None)
    if low < 0 or full is None:
        start, full = low, max(high - low, 1e-30)
    else:
        start = 0
    factor = 255 / full
    values = values.resize(size, Image.Resampling.BICUBIC).convert("F")
    return values.point(lambda value: value * factor + (0.5 - start * factor)).convert("L")


def _on_paper(image: Image.Image) -> Image.Image:
    """A transparent image as gray on opaque paper.

    Where less than half of the image is opaque, that is the ink, and the paper is white under
    dark ink and black under light ink. Otherwise the opaque part holds the paper already, and
    the rest is filled with its mean gray.
    """
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("RGBA")
    gray, alpha = image.convert("L"), image.getchannel("A")
    counts = gray.histogram(alpha.point(lambda value: 255 if value >= 128 else 0))
    opaque = sum(counts)
    mean = sum(value * count for value, count in enumerate(counts)) / max(opaque, 1)
    opposite = 255 if mean < 128 else 0
    paper = round(mean) if opaque * 2 >= gray.width * gray.height else opposite
    page = Image.new("L", gray.size, paper)
    page.paste(gray, mask=alpha)
    return page
