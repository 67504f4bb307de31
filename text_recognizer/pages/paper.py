"""Turns ink into what a scanner or a phone hands over: paper, light, ruled lines, blur, JPEG."""

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from text_recognizer.pages.layout import PlacedLine

_TILE = 2048


@functools.cache
def _noise_tile() -> np.ndarray:
    """White noise to cut from: drawing it again for every page would cost most of the time."""
    return np.random.default_rng(0).standard_normal((_TILE, _TILE), dtype=np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    top, left = rng.integers(_TILE), rng.integers(_TILE)
    rows = (np.arange(height) + top) % _TILE
    columns = (np.arange(width) + left) % _TILE
    return _noise_tile()[rows[:, None], columns]


def _smooth_field(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """A slowly changing field in [-1, 1]: light and shadow, an uneven pen."""
    small = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(small.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _blur(page: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray(np.clip(page, 0, 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)


def _ruling(
    rng: np.random.Generator, shape: tuple[int, int], lines: list[PlacedLine]
) -> np.ndarray | None:
    """Where the paper is ruled or squared, (H, W) in [0, 1]; None where it is blank."""
    kind = rng.random()
    if kind > 0.42:
        return None
    mask = np.zeros(shape, dtype=np.float32)
    columns = np.arange(shape[1])
    thick = int(rng.integers(1, 3))
    typical = float(np.median([line.above + line.below for line in lines]))
    if kind < 0.2:  # the writing stands on the lines
        for line in lines:
            rise = line.below * rng.normal(0.35, 0.05)
            ys = np.interp(columns, line.path[:, 0], line.path[:, 1]) + rise
            for offset in range(thick):
                rows = np.clip(np.round(ys).astype(int) + offset, 0, shape[0] - 1)
                mask[rows, columns] = 1
        return mask
    step = max(typical * rng.uniform(0.4, 1.6), 6.0)
    slope = rng.normal(0, 0.004)
    for y in np.arange(rng.uniform(0, step), shape[0], step):
        rows = np.round(y + slope * columns).astype(int)
        inside = (rows >= 0) & (rows < shape[0])
        mask[rows[inside], columns[inside]] = 1
    if kind < 0.3:  # squared paper
        for x in np.arange(rng.uniform(0, step), shape[1], step):
            mask[:, int(x)] = 1
    return mask


def _stains(rng: np.random.Generator, page: np.ndarray, typical: float) -> None:
    """Punch holes, spots and dark edges, drawn into the page."""
    height, width = page.shape
    for _ in range(rng.integers(1, 4)):
        radius = int(typical * rng.uniform(0.08, 0.5)) + 1
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        if rng.random() < 0.5:
            y = int(rng.uniform(0, typical))  # holes sit at the edge
        top, left = max(y - radius, 0), max(x - radius, 0)
        part = page[top : y + radius, left : x + radius]
        if part.size:
            rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
            disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            part[disc] = rng.uniform(0, 120) if rng.random() < 0.4 else 255
    if rng.random() < 0.3:
        edge = int(rng.integers(2, max(int(typical * 0.4), 3)))
        side = page[:, :edge] if rng.random() < 0.5 else page[:, -edge:]
        side *= rng.uniform(0.1, 0.7)


def put_on_paper(
    rng: np.random.Generator, ink: np.ndarray, lines: list[PlacedLine], wear: float = 1.0
) -> np.ndarray:
    """The page as a gray picture (H, W) uint8, from its ink (H, W) uint8 and its lines.

    wear: from 0, a clean scan, to 1, all that may happen to a page as often as training wants it.
    """
    shape = (ink.shape[0], ink.shape[1])
    typical = float(np.median([line.above + line.below for line in lines]))
    coverage = ink.astype(np.float32) / 255
    if rng.random() < 0.3 * wear:
        coverage *= 1 - 0.5 * np.clip(_smooth_field(rng, shape, 12), 0, 1)  # a pen that runs dry
    if rng.random() < 0.25 * wear:  # pencil, or a pen on rough paper
        coverage *= np.clip(1 - rng.uniform(0.2, 0.6) * np.abs(_noise(rng, shape)), 0, 1)

    plain = rng.random() < 0.25
    brightness = 255.0 if plain else float(rng.uniform(150, 255))
    contrast = float(
        rng.uniform(0.22, 0.5) if rng.random() < 0.3 * wear else rng.uniform(0.45, 1.0)
    )
    page = np.full(shape, brightness, dtype=np.float32)
    if not plain and rng.random() < 0.6 * wear:
        depth = rng.uniform(0.02, 0.25)
        page *= 1 + depth * (_smooth_field(rng, shape, int(rng.integers(2, 5))) - 0.5)
    if not plain and rng.random() < 0.25 * wear:  # what is written on the back shines through
        back = _blur(ink[:, ::-1].astype(np.float32), typical * 0.03) / 255
        shift = (int(rng.uniform(-1, 1) * typical), int(rng.uniform(-2, 2) * typical))
        page *= 1 - rng.uniform(0.04, 0.22) * np.roll(back, shift, axis=(0, 1))
    ruling = _ruling(rng, shape, lines)
    if ruling is not None:
        page *= 1 - rng.uniform(0.08, 0.6) * min(contrast * 1.2, 1.0) * ruling
    page *= 1 - contrast * coverage
    if not plain and rng.random() < 0.12 * wear:
        _stains(rng, page, typical)

    if rng.random() < 0.6 * wear:
        page = _blur(page, typical * float(rng.uniform(0.005, 0.03)))
    if not plain:
        grain = _noise(rng, shape)
        if rng.random() < 0.3 * wear:  # laid or woven paper: grain in one direction
            axis = int(rng.integers(2))
            grain = grain + 1.5 * (np.roll(grain, 1, axis) + np.roll(grain, 2, axis))
            grain /= 2.3
        page += float(rng.uniform(1, 1 + 13 * wear)) * grain
    if rng.random() < 0.06 * wear:
        page = 255 - page
    picture = Image.fromarray(np.clip(page, 0, 255).astype(np.uint8))
    return np.asarray(_through_a_camera(rng, picture, wear))


def _through_a_camera(rng: np.random.Generator, picture: Image.Image, wear: float) -> Image.Image:
    if rng.random() < 0.25 * wear:  # a picture of few pixels, enlarged
        factor = rng.uniform(0.5, 0.9)
        small = (max(int(picture.width * factor), 8), max(int(picture.height * factor), 8))
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize(
            picture.size, Image.Resampling.BILINEAR
        )
    if rng.random() < 0.4 * wear:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(25, 90)))
        picture = Image.open(buffer)
        picture.load()
    return picture
