"""The handwriting data as one file, for a machine that has no network and little time.

`lab pack` writes it, `LAB_DATA_PACK` names it, and the sources of ink read it instead of the
folders. It is a numpy archive without pickle: UNIPEN's strokes as small steps of the pen, Copiste's
lines as WebP images, the fonts' files, and the split.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

VERSION = 1
GRID = 2
"""Units of UNIPEN (its words are about 100 high) to one step of the pack: half a pixel of the
largest writing on a page."""
MOST_STEP = 127
"""Of the grid, between two points: longer moves of the pen get points in between."""
SPACING = 6.0
"""Units between the points that are kept; pages are drawn with a pen about as thick."""
QUALITIES = (75, 60, 50, 40, 30, 20)
"""Of WebP, the best first."""
_FIELDS = ("about", "rows", "starts", "steps", "strokes", "items", "scans", "fonts")


class PackError(RecognizerError):
    """A pack that can't be read, is older than the code, or can't be made as small as asked."""


@dataclass(frozen=True)
class Pack:
    """What a pack holds, in memory.

    rows: a list [writer, kind, text, baseline, x_height, width] for each item of UNIPEN.
    points: (n, 2) int16 of all strokes; strokes: points of each; items: strokes of each item.
    scans: Copiste's lines as their label file has them; images: their WebP bytes by file name.
    fonts: bytes by file name.
    """

    path: Path
    rows: list[list]
    points: np.ndarray
    strokes: np.ndarray
    items: np.ndarray
    scans: list[dict[str, Any]]
    images: dict[str, bytes]
    fonts: dict[str, bytes]

    def image(self, file: str) -> Image.Image:
        """One of Copiste's lines, gray."""
        return Image.open(io.BytesIO(self.images[file])).convert("L")


def read_pack(path: Path, made_of: dict[str, Any]) -> Pack:
    """A pack with all that it holds.

    Args:
        made_of: what the code expects (`pages.handwriting.pack_origin`); a pack made of something
            else is older than the code.

    Raises PackError, in one line, for a file that is missing, cut, no pack or an older one.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = _from_json(archive["about"])
            if about.get("version") != VERSION or about.get("made_of") != made_of:
                raise PackError(
                    f"The pack {path.name} does not fit this version of the code; make it again "
                    "with `lab pack`."
                )
            # Every byte is read and checked here, so a damaged pack is never found out later.
            fields = {name: archive[name] for name in _FIELDS}
        return _unpacked(path, fields, about)
    except FileNotFoundError:
        raise PackError(f"There is no pack at {path}; make one with `lab pack`.") from None
    except PackError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise _damaged(path) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path) from error


def write_pack(
    out: Path,
    most_bytes: int,
    unipen: tuple[list[list], np.ndarray, np.ndarray, np.ndarray],
    scans: Sequence[dict[str, Any]],
    scan_folder: Path,
    fonts: Sequence[Path],
    made_of: dict[str, Any],
) -> dict[str, Any]:
    """Writes a pack of at most `most_bytes`, with the best images that fit into it.

    Args:
        unipen: rows, points, strokes and items, as `Pack` has them.
        scans: lines of Copiste, each with its "file" in `scan_folder`.

    Returns what was packed: bytes, the images' quality, and how many of each thing.
    Raises PackError where it can't be that small, and OSError where it can't be written.
    """
    rows, points, strokes, items = unipen
    starts, steps, lengths = packed_strokes(points, strokes)
    fields = {
        "rows": _json(rows),
        "starts": starts,
        "steps": steps,
        "strokes": lengths,
        "items": np.asarray(items, np.int32),
        "fonts": _joined([path.read_bytes() for path in fonts]),
    }
    room = most_bytes - _size(fields) - 64 * 1024
    quality = _best_quality(scan_folder, [line["file"] for line in scans], room)
    if quality is None:
        raise PackError(
            f"The data does not fit into {most_bytes / 1e6:g} MB; allow more with --most-mb."
        )
    images = [_webp(scan_folder / line["file"], quality) for line in scans]
    about = {
        "version": VERSION,
        "made_of": made_of,
        "scans": list(scans),
        "image_bytes": [len(image) for image in images],
        "font_names": [path.name for path in fonts],
        "font_bytes": [path.stat().st_size for path in fonts],
    }
    with replacing(out) as partial:
        with partial.open("wb") as file:
            np.savez_compressed(file, about=_json(about), scans=_joined(images), **fields)
        written = partial.stat().st_size
        if written > most_bytes:
            raise PackError(
                f"The pack has {written / 1e6:.1f} MB instead of {most_bytes / 1e6:g}; allow more "
                "with --most-mb."
            )
    counts = {"items": len(items), "scans": len(images), "fonts": len(fonts)}
    return {"bytes": written, "quality": quality, **counts}


def packed_strokes(
    points: np.ndarray, strokes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strokes as where each starts (s, 2) int16, its steps (n, 2) int8 and their number (s,) int32.

    Points closer than SPACING to the one before are left out, coordinates are on a grid of GRID
    units, and a step that is longer than MOST_STEP becomes several: the same line is drawn.
    """
    kept, counts = _thinned(points.astype(np.int32), strokes)
    grid = np.round(kept / GRID).astype(np.int32)
    first = np.cumsum(counts) - counts
    starts = grid[first].astype(np.int16)
    moves = np.diff(grid, axis=0, prepend=grid[:1])
    moves[first] = 0  # a stroke's first step leads nowhere: it is where the stroke starts
    parts = np.maximum(-(-np.abs(moves).max(1) // MOST_STEP), 1)
    last = np.cumsum(parts)
    part = np.arange(last[-1]) - np.repeat(last - parts, parts)
    whole, of = np.repeat(moves, parts, axis=0), np.repeat(parts, parts)[:, None]
    steps = whole * (part[:, None] + 1) // of - whole * part[:, None] // of
    lengths = np.add.reduceat(parts, first)
    return starts, steps.astype(np.int8), lengths.astype(np.int32)


def unpacked_strokes(starts: np.ndarray, steps: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The points (n, 2) int16 of `packed_strokes`, in UNIPEN's units again."""
    walked = np.cumsum(steps, axis=0, dtype=np.int32)
    first = np.cumsum(lengths) - lengths
    offsets = starts.astype(np.int32) - walked[first]
    walked += np.repeat(offsets, lengths, axis=0)
    return (walked * GRID).astype(np.int16)


def _thinned(points: np.ndarray, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are kept, and how many each stroke has of them: the first and the last."""
    first = np.cumsum(strokes) - strokes
    way = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    way[first] = 0.0
    total = np.cumsum(way)
    piece = np.floor((total - np.repeat(total[first], strokes)) / SPACING)
    kept = np.diff(piece, prepend=-1.0) != 0
    kept[first] = kept[first + strokes - 1] = True
    return points[kept], np.add.reduceat(kept.astype(np.int64), first)


def _best_quality(folder: Path, files: Sequence[str], room: int, sample: int = 150) -> int | None:
    """The best quality with which all images fit into `room` bytes, by a sample of them."""
    tried = files[:: max(1, len(files) // sample)]
    for quality in QUALITIES:
        size = sum(len(_webp(folder / file, quality)) for file in tried)
        if size * len(files) / max(len(tried), 1) * 1.02 <= room:
            return quality
    return None


def _webp(path: Path, quality: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("L").save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def _unpacked(path: Path, fields: dict[str, np.ndarray], about: dict[str, Any]) -> Pack:
    files = [line["file"] for line in about["scans"]]
    rows, lengths, items = _from_json(fields["rows"]), fields["strokes"], fields["items"]
    if len(rows) != len(items) or int(items.sum()) != len(lengths):
        raise ValueError("its parts do not fit together")
    return Pack(
        path,
        rows,
        unpacked_strokes(fields["starts"], fields["steps"], lengths),
        lengths,
        items,
        about["scans"],
        dict(zip(files, _parted(fields["scans"], about["image_bytes"]), strict=True)),
        dict(zip(about["font_names"], _parted(fields["fonts"], about["font_bytes"]), strict=True)),
    )


def _damaged(path: Path) -> PackError:
    return PackError(f"{path.name} is cut, damaged or not a pack; make it with `lab pack`.")


def _json(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value, separators=(",", ":")).encode(), np.uint8)


def _from_json(array: np.ndarray) -> Any:
    return json.loads(array.tobytes())


def _joined(parts: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(parts), np.uint8)


def _parted(array: np.ndarray, sizes: Sequence[int]) -> list[bytes]:
    ends = np.cumsum(sizes, dtype=np.int64)
    if (int(ends[-1]) if len(ends) else 0) != array.size:
        raise ValueError("its parts do not fit together")
    data = array.tobytes()
    return [data[end - size : end] for end, size in zip(ends.tolist(), sizes, strict=True)]


def _size(fields: dict[str, np.ndarray]) -> int:
    """Bytes of the fields in an archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **fields)
    return buffer.tell()
