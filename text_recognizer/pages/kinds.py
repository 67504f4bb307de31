"""Made pages as people bring them: turned, in shadow, on a desk, cropped, in columns, far away.

A page is made first, as a clean scan of known text. Each kind then does one thing to it that a
phone or a pair of scissors does, so that an error rate says what is hard, and nothing else.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from text_recognizer.pages.ink import InkLine
from text_recognizer.pages.layout import PlacedLine

PHOTO = (4000, 3000)  # px: a phone's 12 MP
JPEG_QUALITY = 88

Picture = Image.Image


def skew(rng: np.random.Generator, page: Picture, degrees: float) -> Picture:
    """The page turned by an angle, either way; the corners that open have the paper's gray."""
    sign = 1 if rng.random() < 0.5 else -1
    return page.rotate(
        sign * degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=_paper_gray(page)
    )


def turn(page: Picture, degrees: int) -> Picture:
    """The pixels turned by 90, 180 or 270 degrees, as a camera that lost its sense of up."""
    return page.rotate(degrees, expand=True)


def shadow(rng: np.random.Generator, page: Picture, light: float) -> Picture:
    """About half of the page with that share of the light; the shadow's edge is hard, and runs
    across the page at any angle."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[: page.height, : page.width].astype(np.float32)
    side = (x - page.width / 2) * math.cos(angle) + (y - page.height / 2) * math.sin(angle)
    edge = rng.uniform(1.0, 4.0)  # px: half of the penumbra
    share = np.clip(side / edge * 0.5 + 0.5, 0, 1)
    shaded = np.asarray(page, dtype=np.float32) * (light + (1 - light) * share)
    return Image.fromarray(shaded.astype(np.uint8))


def back(rng: np.random.Generator, page: Picture, share: float) -> Picture:
    """The page on thin paper: what is written on its back shines through, mirrored and blurred,
    with that share of the ink's darkness."""
    paper = _paper_gray(page)
    mirrored = page.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    behind = np.asarray(mirrored.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32)
    ink = np.clip(1 - behind / paper, 0, 1)
    shift = [round(float(rng.uniform(-0.5, 0.5)) * side) for side in ink.shape]
    ink = np.roll(ink, shift, axis=(0, 1))
    darkened = np.asarray(page, dtype=np.float32) * (1 - share * ink)
    return Image.fromarray(darkened.astype(np.uint8))


def desk(rng: np.random.Generator, page: Picture, share: float, clutter: bool = False) -> Picture:
    """A 12 MP photo of the page on a darker desk, seen from an angle.

    share: of the photo's width, what the page takes. clutter: pens, cups and other papers lie
    around it.
    """
    size = PHOTO if page.width > page.height else PHOTO[::-1]
    photo = _desk_top(rng, size, clutter)
    width = share * size[0]
    height = width * page.height / page.width
    if height > 0.92 * size[1]:
        width, height = width * 0.92 * size[1] / height, 0.92 * size[1]
    room = (size[0] - width) / 2, (size[1] - height) / 2
    centre = [s / 2 + rng.uniform(-0.5, 0.5) * r for s, r in zip(size, room, strict=True)]
    tilt = math.radians(rng.uniform(-4, 4))
    corners = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        depth = 1 + 0.04 * rng.uniform(-1, 1) + 0.05 * y  # what is near is large
        x, y = x * width / 2 * depth, y * height / 2 * (1 + 0.03 * rng.uniform(-1, 1))
        turned = x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt)
        corners.append((centre[0] + turned[0], centre[1] + turned[1]))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    grow = max(round(width / page.width), 1)  # or small pages would come out in single pixels
    source = page.resize((page.width * grow, page.height * grow), Image.Resampling.BICUBIC)
    warped = source.transform(
        size, Image.Transform.PERSPECTIVE, _to_page(corners, source.size), Image.Resampling.BICUBIC
    )
    dark = Image.fromarray((np.asarray(photo, dtype=np.float32) * 0.6).astype(np.uint8))
    cast = mask.filter(ImageFilter.GaussianBlur(size[0] / 250))
    photo = Image.composite(dark, photo, cast)  # the page's shadow on the desk
    photo = Image.composite(warped, photo, mask.filter(ImageFilter.GaussianBlur(1)))
    return as_photo(rng, photo)


def as_photo(rng: np.random.Generator, picture: Picture) -> Picture:
    """What the lens and the camera's software add: a light that falls off, blur, noise, JPEG."""
    width, height = picture.size
    falls = rng.uniform(-0.15, 0.15, 2)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    pixels = np.asarray(picture, dtype=np.float32) * (0.85 + falls[0] * x + falls[1] * y)
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * 3
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(0.8)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    photo = Image.open(buffer)
    photo.load()
    return photo


def crop(rng: np.random.Generator, page: Picture, line: PlacedLine) -> Picture:
    """One line cut out with a little room, as people crop: parts of its neighbours may show."""
    height = line.above + line.below
    inside = (line.path[:, 0] >= line.start) & (line.path[:, 0] <= line.end)
    ys = line.path[inside, 1] if inside.any() else line.path[:, 1]
    margin = height * rng.uniform(0.05, 0.35, 4)
    box = (
        max(round(line.start - margin[0]), 0),
        max(round(float(ys.min()) - line.above - margin[1]), 0),
        min(round(line.end + margin[2]), page.width),
        min(round(float(ys.max()) + line.below + margin[3]), page.height),
    )
    return page.crop(box)


def word(rng: np.random.Generator, ink: InkLine, height: float) -> Picture:
    """The ink of one word on plain paper, the picture so high that the word fills it."""
    margin = rng.uniform(0.05, 0.4, 4) * ink.ink.shape[0]
    left, top, right, bottom = (round(float(side)) for side in margin)
    coverage = np.pad(ink.ink.astype(np.float32) / 255, ((top, bottom), (left, right)))
    paper = rng.uniform(215, 252)
    picture = Image.fromarray((paper * (1 - rng.uniform(0.65, 0.95) * coverage)).astype(np.uint8))
    factor = height / ink.ink.shape[0]
    size = max(round(picture.width * factor), 8), max(round(picture.height * factor), 8)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _paper_gray(page: Picture) -> int:
    return int(np.quantile(np.asarray(page), 0.8))


def _desk_top(rng: np.random.Generator, size: tuple[int, int], clutter: bool) -> Picture:
    """A wooden or plain desk, darker than paper."""
    width, height = size
    y, x = np.mgrid[0:height:4, 0:width:4].astype(np.float32)
    brightness = rng.uniform(45, 120)
    wave = np.sin(y * rng.uniform(0.01, 0.05) + 3 * np.sin(x * rng.uniform(0.0005, 0.003)))
    top = brightness * (1 + rng.uniform(0, 0.25) * wave)
    top *= (
        1
        + rng.uniform(-0.25, 0.25) * (x / width - 0.5)
        + rng.uniform(-0.25, 0.25) * (y / height - 0.5)
    )
    picture = Image.fromarray(np.clip(top, 0, 255).astype(np.uint8)).resize(size)
    if clutter:
        draw = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(3, 7))):
            edge_x, edge_y = (
                rng.uniform(0, width),
                rng.choice([rng.uniform(0, 0.12), rng.uniform(0.88, 1.0)]) * height,
            )
            reach = rng.uniform(0.03, 0.12) * width
            gray = int(rng.choice([rng.uniform(10, 60), rng.uniform(150, 240)]))
            box = (edge_x - reach, edge_y - reach / 2, edge_x + reach, edge_y + reach / 2)
            shape: Callable[..., None] = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            shape(box, fill=gray)
            draw.line((edge_x, edge_y, edge_x + 4 * reach, edge_y + reach), fill=gray, width=30)
    return picture


def _to_page(corners: list[tuple[float, float]], size: tuple[int, int]) -> list[float]:
    """Pillow's eight numbers of the perspective that shows the page between these corners."""
    rows, values = [], []
    targets = ((0, 0), (size[0], 0), size, (0, size[1]))
    for (x, y), (u, v) in zip(corners, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.asarray(rows), np.asarray(values)).tolist()
