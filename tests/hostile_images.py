"""Images that ask a decoder for more than they should get: small files, made here.

`HOSTILE_IMAGES` has them by name. Each decoder and each edge must refuse or read one within the
limits of `text_recognizer.limits`, and then read the next good image.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image


def encoded(image: Image.Image, format: str = "PNG", turn: int = 0, **options) -> bytes:
    """An image's file; `turn` is the EXIF orientation that it tells, 0 for none."""
    if turn:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = turn
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def gray(width: int = 64, height: int = 48) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height))


def tiff_directory(entries: list[tuple[int, int, int, int]], next_at: int = 0) -> bytes:
    """(tag, type, count, value or place) each, sorted by tag."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", next_at)


def tiff_entries(width: int, height: int) -> list[tuple[int, int, int, int]]:
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    values[279] = width * height
    return [(tag, 4, 1, value) for tag, value in values.items()]


def tiff_that_names_its_bytes_again_and_again() -> bytes:
    """Each of 5,000 entries says that the same megabyte is its value."""
    entries = tiff_entries(64, 48)
    entries += [(40_000 + number, 1, 1_000_000, 8) for number in range(5_000)]
    return b"II*\0" + struct.pack("<I", 1_000_008) + bytes(1_000_000) + tiff_directory(entries)


def tiff_of_many_directories() -> bytes:
    """20,000 directories in a row, the last of which points at the first."""
    pixels = bytes(64 * 48)
    start, size = 8 + len(pixels), len(tiff_directory(tiff_entries(64, 48)))
    places = [start + size * number for number in range(1, 20_000)] + [start]
    directories = (tiff_directory(tiff_entries(64, 48), place) for place in places)
    return b"II*\0" + struct.pack("<I", start) + pixels + b"".join(directories)


def jpeg_of_many_scans(count: int = 3000, side: int = 4000) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def jpeg_of_markers() -> bytes:
    """1 MB of application markers that hold nothing."""
    data = encoded(gray(), "JPEG")
    return data[:2] + b"\xff\xed\0\x02" * 250_000 + data[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(kind: bytes, data: bytes, times: int = 1) -> bytes:
    """A good PNG with a chunk after its header."""
    whole = encoded(gray(), "PNG")
    return whole[:33] + png_chunk(kind, data) * times + whole[33:]


def png_of_chunks(head: bytes, body: bytes) -> bytes:
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_of(width: int, height: int, mode: str = "RGBA") -> bytes:
    """A PNG of zeros: few bytes, many pixels."""
    kind, samples = {"L": (0, 1), "RGBA": (6, 4)}[mode]
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return png_of_chunks(head, zlib.compress(bytes(height * (1 + samples * width)), 1))


def animated(format: str, count: int = 300) -> bytes:
    frames = [Image.new("L", (64, 48), number % 256) for number in range(count)]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:])


def giant_tile() -> bytes:
    """A TIFF of 64 x 48 px in one tile of 30,000 x 30,000."""
    entries = tiff_entries(64, 48)
    entries = [entry for entry in entries if entry[0] not in (259, 273, 278, 279)]
    entries += [(259, 4, 1, 8), (322, 4, 1, 30_000), (323, 4, 1, 30_000)]
    entries += [(324, 4, 1, 8), (325, 4, 1, 900)]
    return (
        b"II*\0"
        + struct.pack("<I", 908)
        + zlib.compress(bytes(30_000)).ljust(900, b"\0")
        + tiff_directory(entries)
    )


HOSTILE_IMAGES: dict[str, Callable[[], bytes]] = {
    "TIFF: a megabyte named 5,000 times": cache(tiff_that_names_its_bytes_again_and_again),
    "TIFF: 20,000 directories in a circle": cache(tiff_of_many_directories),
    "TIFF: a giant tile": giant_tile,
    "JPEG: 3,000 scans": cache(jpeg_of_many_scans),
    "JPEG: 250,000 markers": cache(jpeg_of_markers),
    "WebP: animated": lambda: animated("WEBP"),
    "PNG: animated": lambda: animated("PNG"),
    "PNG: the most pixels, transparent": cache(lambda: png_of(8192, 8192)),
    "PNG: one pixel row too many": lambda: png_of(8192, 8193, "L"),
    "PNG: text of 50 MB, zipped": cache(
        lambda: png_with(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000), 9))
    ),
    "PNG: 100,000 texts": lambda: png_with(b"tEXt", b"a\0b", times=100_000),
    "BMP: a giant that is not there": lambda: (
        b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 2**31 - 1, 2**31 - 1, 1, 24) + bytes(24)
    ),
    "PPM: a giant that is not there": lambda: b"P6 99999999 99999999 255\n",
}
