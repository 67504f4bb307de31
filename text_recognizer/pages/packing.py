"""Makes a data pack out of the folders of handwriting and fonts."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from text_recognizer.files import replacing
from text_recognizer.pages.fonts import TRAINING_FONTS, UNSEEN_FONTS, fetch_fonts, font_path
from text_recognizer.pages.handwriting import handwriting_folder, pack_origin
from text_recognizer.pages.pack import ABOUT, VERSION, PackError
from text_recognizer.pages.scans import COPISTE
from text_recognizer.pages.unipen import GRID, PACKED, Arrays, read_arrays

SPACING = 6.0
"""Units of UNIPEN (its words are about 100 high) between the points that are kept; pages are drawn
with a pen about as thick."""
QUALITIES = (75, 60, 50, 40, 30, 20)
"""Of WebP, the best first."""


def pack_data(out: Path, most_bytes: int) -> dict[str, Any]:
    """Writes all the handwriting data that training and validation need into one file of at most
    `most_bytes`, with the best images that fit into it.

    Returns what was packed: bytes, the images' quality, and how many of each thing. Raises
    HandwritingMissingError or NpmError where the data is not on this machine, and PackError where
    it does not fit.
    """
    folder = handwriting_folder()
    fonts = fetch_fonts()
    unipen = read_arrays(folder)
    files: dict[str, bytes] = {
        ABOUT: json.dumps({"version": VERSION, "made_of": pack_origin()}).encode(),
        PACKED: packed_arrays(unipen),
    }
    names = TRAINING_FONTS + UNSEEN_FONTS
    for name in names:
        path = font_path(name, fonts)
        files[f"fonts/{path.name}"] = path.read_bytes()
    lines = json.loads((folder / COPISTE).read_text())["lines"]
    quality = _best_quality(
        [folder / line["file"] for line in lines], most_bytes - sum(map(len, files.values()))
    )
    labels = []
    for number, line in enumerate(lines):
        file = f"lines/{number}.webp"
        files[file] = _webp(folder / line["file"], quality)
        labels.append({"file": file, "page": line["page"], "text_ascii": line["text_ascii"]})
    files[COPISTE] = json.dumps({"lines": labels}).encode()
    counts = {"items": len(unipen.rows), "scans": len(lines), "fonts": len(names)}
    return {"bytes": _write(out, files, most_bytes), "quality": quality, **counts}


def _write(out: Path, files: dict[str, bytes], most_bytes: int) -> int:
    """Writes the archive, whole or not at all; returns its bytes."""
    with replacing(out) as partial:
        with zipfile.ZipFile(partial, "w") as archive:
            for name, content in files.items():
                small = name.endswith(".json")  # the others are compressed already
                kind = zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED
                archive.writestr(name, content, kind)
        if partial.stat().st_size > most_bytes:
            raise PackError(
                f"The data does not fit into {most_bytes / 1e6:g} MB; give more --most-mb."
            )
    return out.stat().st_size


def packed_arrays(unipen: Arrays) -> bytes:
    """UNIPEN with the points that are SPACING apart, on a grid of GRID units, as differences from
    point to point, which compress well: `unipen.read_arrays` reads them."""
    points, strokes = thinned(unipen.points.astype(np.int32), unipen.strokes)
    steps = np.diff(np.round(points.T / GRID).astype(np.int32), prepend=0)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        rows=np.frombuffer(json.dumps(unipen.rows, separators=(",", ":")).encode(), np.uint8),
        steps=steps.astype(np.int16),
        strokes=strokes.astype(np.int32),
        items=unipen.items,
    )
    return buffer.getvalue()


def thinned(points: np.ndarray, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points that are kept, each stroke's first and last among them, and how many each has."""
    first = np.cumsum(strokes) - strokes
    way = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    way[first] = 0.0
    total = np.cumsum(way)
    piece = np.floor((total - np.repeat(total[first], strokes)) / SPACING)
    kept = np.diff(piece, prepend=-1.0) != 0
    kept[first] = kept[first + strokes - 1] = True
    return points[kept], np.add.reduceat(kept.astype(np.int64), first)


def _best_quality(images: Sequence[Path], room: int, sample: int = 150) -> int:
    """The best quality with which all images fit into `room` bytes, by a sample of them."""
    tried = images[:: max(1, len(images) // sample)]
    for quality in QUALITIES:
        size = sum(len(_webp(path, quality)) + 200 for path in tried)  # with its names in the ZIP
        if size * len(images) / len(tried) * 1.02 <= room:
            return quality
    return QUALITIES[-1]


def _webp(path: Path, quality: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("L").save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
