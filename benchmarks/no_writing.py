"""What is said about pictures without English writing: drawings, textures, charts, empty paper.

    python benchmarks/no_writing.py
    python benchmarks/no_writing.py --sheet .lab/no_writing.png

All are drawn by code from one seed: the same on every machine. A picture should be read as nothing,
or its text should come with a note. What is read without one is counted as `silent`.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.sheet import contact_sheet
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES

WIDTH, HEIGHT = 900, 700  # px of most pictures
LIMIT = 0.05  # of the pictures, that may be read without a note

Draw = Callable[[np.random.Generator, ImageDraw.ImageDraw], None]

TEXTS = {
    "Cyrillic": "Мама пошла в магазин\nи купила яблоки\nи свежий хлеб",
    "Greek": "Η θάλασσα ήταν ήρεμη\nκαι ο ήλιος έλαμπε\nπάνω από το νησί",
    "Arabic": "ذهب الولد إلى المدرسة\nوقرأ كتابا جديدا\nثم عاد إلى البيت",
    "Hebrew": "הילד הלך לבית הספר\nוקרא ספר חדש\nואז חזר הביתה",
    "Georgian": "ბავშვი სკოლაში წავიდა\nდა ახალი წიგნი\nწაიკითხა",
    "Armenian": "Երեխան գնաց դպրոց\nև կարդաց նոր\nգիրք",
}
"""Simple sentences in scripts that the recognizer does not know, all in the font DejaVu Sans."""


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """(name, picture), the same at every call."""
    for name, draw in {**DRAWINGS, **CHARTS, **RULES}.items():
        yield name, _drawn(draw, _rng(name))
    for name, make in {**TEXTURES, **PHOTOS}.items():
        pixels = make(_rng(name))
        yield name, Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name, text in TEXTS.items():
        yield name, _drawn(lambda _, draw, text=text: _write(draw, text, font), _rng(name))
    for path in sorted(SAMPLE_PAGES.glob("show_*.jpg"))[::3]:
        with Image.open(path) as page:
            yield f"{path.stem} mirrored", ImageOps.mirror(page.convert("L"))


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def _drawn(draw: Draw, rng: np.random.Generator) -> Image.Image:
    """Dark ink on light paper, with the noise of a scanner."""
    picture = Image.new("L", (WIDTH, HEIGHT), int(rng.integers(225, 250)))
    draw(rng, ImageDraw.Draw(picture))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)), dtype=np.float32)
    pixels += rng.standard_normal(pixels.shape) * 2
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _write(draw: ImageDraw.ImageDraw, text: str, font: Path) -> None:
    draw.multiline_text((80, 80), text, 40, ImageFont.truetype(font, 48), spacing=30)


# Drawings: ink on paper that is no writing.


def _house(rng, draw):
    draw.rectangle((250, 320, 650, 620), outline=40, width=6)
    draw.line((220, 320, 450, 120, 680, 320, 220, 320), fill=40, width=6)
    draw.rectangle((410, 460, 490, 620), outline=40, width=6)
    for x in (290, 540):
        draw.rectangle((x, 370, x + 70, 440), outline=40, width=6)
        draw.line((x + 35, 370, x + 35, 440), fill=40, width=4)


def _face(rng, draw):
    draw.ellipse((250, 120, 650, 580), outline=30, width=7)
    for x in (350, 500):
        draw.ellipse((x, 260, x + 50, 300), outline=30, width=6)
    draw.line((450, 320, 430, 400, 460, 405), fill=30, width=6)
    draw.arc((370, 380, 530, 500), 20, 160, fill=30, width=6)


def _tree(rng, draw):
    def branch(x: float, y: float, angle: float, length: float) -> None:
        if length < 12:
            return
        end = x + length * math.cos(angle), y + length * math.sin(angle)
        draw.line((x, y, *end), fill=35, width=max(round(length / 16), 2))
        for turn in rng.uniform(0.2, 0.7, 2) * (-1, 1):
            branch(*end, angle + turn, length * rng.uniform(0.62, 0.8))

    branch(450, 660, -math.pi / 2, 150)


def _stick_figure(rng, draw):
    draw.ellipse((400, 100, 500, 200), outline=30, width=6)
    draw.line((450, 200, 450, 420), fill=30, width=6)
    draw.line((330, 300, 450, 250, 570, 310), fill=30, width=6)
    draw.line((360, 600, 450, 420, 540, 600), fill=30, width=6)


def _cat(rng, draw):
    draw.ellipse((300, 250, 600, 500), outline=30, width=6)
    draw.line((320, 300, 330, 180, 400, 255), fill=30, width=6)
    draw.line((580, 300, 570, 180, 500, 255), fill=30, width=6)
    for side in (-1, 1):
        draw.ellipse((430 + side * 70, 330, 465 + side * 70, 360), outline=30, width=5)
        for y in (400, 415, 430):
            draw.line((450 + side * 40, 415, 450 + side * 220, y + 10), fill=30, width=3)


def _spiral(rng, draw):
    turns = np.linspace(0, 10 * math.pi, 900)
    reach = 9 * turns
    points = np.stack([450 + reach * np.cos(turns), 350 + reach * np.sin(turns)], axis=1)
    draw.line([tuple(point) for point in points], fill=40, width=5)


def _scribble(rng, draw):
    """A pen that was tried out."""
    time = np.linspace(0, 60, 900)
    x = 200 + 8 * time + 90 * np.cos(time * 2.1)
    y = 350 + 120 * np.sin(time * 1.7) * np.cos(time * 0.3)
    draw.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=40, width=4)


def _doodles(rng, draw):
    for _ in range(14):
        x, y = rng.uniform(60, WIDTH - 160), rng.uniform(60, HEIGHT - 160)
        points = np.cumsum(rng.normal(0, 22, (14, 2)), axis=0) + (x, y)
        draw.line([tuple(point) for point in points], fill=50, width=4, joint="curve")


def _stars(rng, draw):
    for _ in range(16):
        x, y, size = rng.uniform(80, 820), rng.uniform(80, 620), rng.uniform(20, 50)
        angles = [math.pi * (0.8 * step - 0.5) for step in range(6)]
        points = [(x + size * math.cos(a), y + size * math.sin(a)) for a in angles]
        draw.line(points, fill=40, width=4)


def _hearts(rng, draw):
    time = np.linspace(0, 2 * math.pi, 60)
    across = 16 * np.sin(time) ** 3
    down = -(13 * np.cos(time) - 5 * np.cos(2 * time) - 2 * np.cos(3 * time))
    for _ in range(9):
        x, y, size = rng.uniform(100, 800), rng.uniform(100, 600), rng.uniform(1.5, 4)
        points = np.stack([x + size * across, y + size * down], axis=1)
        draw.line([tuple(point) for point in points], fill=40, width=4)


def _arrows(rng, draw):
    for y in range(110, 640, 120):
        start, end = rng.uniform(80, 200), rng.uniform(500, 820)
        draw.line((start, y, end, y + 20), fill=40, width=5)
        draw.line((end - 35, y - 5, end, y + 20, end - 40, y + 38), fill=40, width=5)


def _boxes(rng, draw):
    """A flow chart before its words."""
    for row in range(3):
        for column in range(3):
            x, y = 80 + 280 * column, 70 + 210 * row
            shape = draw.ellipse if (row + column) % 3 == 0 else draw.rectangle
            shape((x, y, x + 180, y + 110), outline=40, width=4)
            if column < 2:
                draw.line((x + 180, y + 55, x + 280, y + 55), fill=40, width=4)


def _maze(rng, draw):
    for x in range(60, 840, 60):
        for y in range(50, 640, 60):
            end = (x + 60, y) if rng.random() < 0.5 else (x, y + 60)
            draw.line((x, y, *end), fill=30, width=5)


def _flowers(rng, draw):
    for x in (180, 420, 680):
        y = rng.uniform(200, 320)
        for petal in range(7):
            a = petal * 2 * math.pi / 7
            u, v = x + 55 * math.cos(a), y + 55 * math.sin(a)
            draw.ellipse((u - 30, v - 30, u + 30, v + 30), outline=40, width=4)
        draw.line((x, y + 80, x + 15, 640), fill=40, width=5)


def _circuit(rng, draw):
    for _ in range(22):
        x, y = (int(v) * 30 for v in rng.integers(2, 22, 2))
        for _ in range(4):
            step = int(rng.integers(1, 5)) * 30
            end = (x + step, y) if rng.random() < 0.5 else (x, y + step)
            draw.line((x, y, *end), fill=40, width=3)
            x, y = end
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=40)


def _scratches(rng, draw):
    for _ in range(40):
        x, y, angle = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.normal(0.8, 0.2)
        length = rng.uniform(40, 260)
        draw.line(
            (x, y, x + length * math.cos(angle), y + length * math.sin(angle)), fill=90, width=2
        )


DRAWINGS: dict[str, Draw] = {
    "house": _house,
    "face": _face,
    "tree": _tree,
    "stick figure": _stick_figure,
    "cat": _cat,
    "spiral": _spiral,
    "scribble": _scribble,
    "doodles": _doodles,
    "stars": _stars,
    "hearts": _hearts,
    "arrows": _arrows,
    "boxes": _boxes,
    "maze": _maze,
    "flowers": _flowers,
    "circuit": _circuit,
    "scratches": _scratches,
}


# Charts and printed patterns.


def _bars(rng, draw):
    draw.line((100, 60, 100, 620, 840, 620), fill=40, width=4)
    for x in range(140, 820, 80):
        draw.rectangle(
            (x, 620 - rng.uniform(60, 500), x + 50, 620), fill=int(rng.integers(60, 180))
        )


def _curve(rng, draw):
    draw.line((100, 60, 100, 620, 840, 620), fill=40, width=4)
    for gray in (40, 120):
        points = [
            (x, 600 - abs(float(y)))
            for x, y in zip(
                range(110, 830, 24), np.cumsum(rng.normal(6, 30, 30)) + 150, strict=True
            )
        ]
        draw.line(points, fill=gray, width=4)


def _scatter(rng, draw):
    draw.line((100, 60, 100, 620, 840, 620), fill=40, width=4)
    for _ in range(140):
        x = rng.uniform(120, 820)
        y = 600 - 0.6 * (x - 100) + rng.normal(0, 50)
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=60)


def _pie(rng, draw):
    start = 0.0
    for gray in (60, 110, 160, 200, 90):
        end = start + rng.uniform(40, 90)
        draw.pieslice((250, 130, 690, 570), start, end, fill=gray, outline=30, width=3)
        start = end


def _barcode(rng, draw):
    x = 120
    while x < 780:
        width = int(rng.integers(2, 9))
        draw.rectangle((x, 200, x + width, 500), fill=20)
        x += width + int(rng.integers(3, 10))


def _matrix_code(rng, draw):
    for row in range(29):
        for column in range(29):
            if rng.random() < 0.5:
                x, y = 160 + 20 * column, 60 + 20 * row
                draw.rectangle((x, y, x + 19, y + 19), fill=20)


CHARTS: dict[str, Draw] = {
    "bar chart": _bars,
    "line chart": _curve,
    "scatter plot": _scatter,
    "pie chart": _pie,
    "barcode": _barcode,
    "matrix code": _matrix_code,
}


# Paper that waits to be written on.


def _ruled(rng, draw):
    for y in range(80, HEIGHT, 42):
        draw.line((0, y, WIDTH, y), fill=150, width=2)
    draw.line((110, 0, 110, HEIGHT), fill=120, width=2)


def _squared(rng, draw):
    for at in range(20, WIDTH, 28):
        draw.line((at, 0, at, HEIGHT), fill=170, width=2)
        draw.line((0, at, WIDTH, at), fill=170, width=2)


def _dotted(rng, draw):
    for x in range(20, WIDTH, 25):
        for y in range(20, HEIGHT, 25):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=110)


def _staves(rng, draw):
    for top in range(80, 600, 130):
        for line in range(5):
            draw.line((60, top + 14 * line, 840, top + 14 * line), fill=60, width=2)


def _form(rng, draw):
    for y in range(120, 640, 90):
        draw.rectangle((300, y, 820, y + 55), outline=90, width=2)
        draw.rectangle((80, y + 12, 110, y + 42), outline=90, width=3)


def _table(rng, draw):
    for y in range(60, 660, 60):
        draw.line((60, y, 840, y), fill=70, width=3)
    for x in (60, 220, 420, 600, 840):
        draw.line((x, 60, x, 600), fill=70, width=3)


def _dashes(rng, draw):
    for y in range(100, 640, 60):
        for x in range(60, 840, 30):
            draw.line((x, y, x + 16, y), fill=90, width=3)


def _empty(rng, draw):
    pass


def _stain(rng, draw):
    draw.ellipse((300, 150, 640, 490), outline=190, width=14)


def _holes(rng, draw):
    for y in (160, 540):
        draw.ellipse((40, y, 76, y + 36), fill=30)


RULES: dict[str, Draw] = {
    "ruled paper": _ruled,
    "squared paper": _squared,
    "dotted paper": _dotted,
    "music paper": _staves,
    "form": _form,
    "table": _table,
    "dashed rules": _dashes,
    "empty paper": _empty,
    "coffee ring": _stain,
    "punched holes": _holes,
}


# Textures and photos, as (HEIGHT, WIDTH) gray in [0, 255].

Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def _cloud(rng: np.random.Generator, finest: int = 2) -> np.ndarray:
    """Smooth noise of all sizes in [0, 1], as clouds and marble have it."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for size in (256, 128, 64, 32, 16, 8, 4, 2):
        if size < finest:
            break
        small = rng.random((HEIGHT // size + 2, WIDTH // size + 2)).astype(np.float32)
        grown = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total += np.asarray(grown) * size
    return (total - total.min()) / np.ptp(total)


def _checkerboard(size: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: 30 + 200 * ((X // size + Y // size) % 2)


def _bricks(rng):
    row = Y // 50
    joint = (Y % 50 < 6) | ((X + 60 * (row % 2)) % 120 < 6)
    return np.where(joint, 200, 110) + 20 * _cloud(rng)


def _weave(rng):
    return 130 + 60 * np.sin(X / 4) * np.sin(Y / 4) + 20 * _cloud(rng)


def _wood(rng):
    return 140 + 50 * np.sin(Y / 9 + 6 * _cloud(rng, 32) + X / 200) + rng.normal(0, 6, X.shape)


def _polka(rng):
    return np.where(((X % 80 - 40) ** 2 + (Y % 80 - 40) ** 2) < 400, 60, 220)


def _zebra(rng):
    return np.where(np.sin(X / 25 + 8 * _cloud(rng, 64)) > 0, 230, 30)


def _landscape(rng):
    pixels = 240 - 60 * Y / HEIGHT
    for gray, height in ((150, 300), (110, 420), (70, 530)):
        phase = rng.uniform(0, 6, 3)
        hills = height + sum(
            30 * np.sin(X[0] / scale + p) for scale, p in zip((190, 90, 47), phase, strict=True)
        )
        pixels = np.where(hills < Y, gray + 20 * _cloud(rng), pixels)
    return np.where((X - 700) ** 2 + (Y - 120) ** 2 < 50**2, 255, pixels)


def _mountains(rng):
    ridge = 420 - 230 * np.abs(np.interp(X[0], np.arange(0, 901, 90), rng.uniform(-1, 1, 11)))
    snow = (ridge < Y) & (ridge + 70 + 60 * _cloud(rng) > Y)
    return np.where(snow, 250, np.where(ridge < Y, 90 + 40 * _cloud(rng), 190))


def _sea(rng):
    waves = np.sin(X / 15 + 10 * _cloud(rng, 16)) * (Y - 300) / 10
    return np.where(Y > 300, 120 + waves, 210 - Y / 10) + rng.normal(0, 3, X.shape)


def _city(rng):
    pixels = 170 + 60 * Y / HEIGHT
    x = 0
    while x < WIDTH:
        width, top = int(rng.integers(50, 120)), int(rng.integers(150, 500))
        pixels[top:, x : x + width] = rng.uniform(30, 80)
        for row in range(top + 15, HEIGHT - 20, 35):
            for column in range(x + 8, min(x + width - 12, WIDTH - 12), 24):
                pixels[row : row + 16, column : column + 10] = rng.choice([60, 220])
        x += width
    return pixels


def _forest(rng):
    pixels = 200 - 40 * _cloud(rng)
    for _ in range(26):
        x, width = rng.uniform(0, WIDTH), rng.uniform(8, 34)
        pixels = np.where(np.abs(X - x - Y / 60) < width / 2, rng.uniform(30, 90), pixels)
    return pixels


def _night(rng):
    pixels = 12 + 20 * _cloud(rng)
    for _ in range(120):
        x, y, size = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(0.6, 2)
        pixels += 220 * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * size**2))
    return pixels


def _bokeh(rng):
    pixels = 50 + 40 * _cloud(rng)
    for _ in range(25):
        x, y, size = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(20, 70)
        pixels += np.where((X - x) ** 2 + (Y - y) ** 2 < size**2, rng.uniform(20, 90), 0)
    return pixels


def _fruit(rng):
    pixels = np.where(Y > 480, 120, 200) + 15 * _cloud(rng)
    for x, y, size in ((300, 430, 110), (470, 450, 95), (640, 420, 130)):
        near = (X - x) ** 2 + (Y - y) ** 2
        lit = 60 + 150 * np.exp(-((X - x + size / 3) ** 2 + (Y - y + size / 3) ** 2) / size**2)
        pixels = np.where(near < size**2, lit, pixels)
    return pixels


def _portrait(rng):
    pixels = 150 + 30 * _cloud(rng, 32)
    for x, y, wide, high, gray in (
        (450, 760, 300, 220, 60),
        (450, 330, 150, 200, 190),
        (450, 200, 160, 100, 50),
        (395, 310, 24, 12, 40),
        (505, 310, 24, 12, 40),
        (450, 440, 55, 14, 110),
    ):
        pixels = np.where(((X - x) / wide) ** 2 + ((Y - y) / high) ** 2 < 1, gray, pixels)
    return np.asarray(Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(4)))


TEXTURES = {
    **{f"checkerboard {size} px": _checkerboard(size) for size in (12, 40, 110)},
    "gradient": lambda rng: 40 + 200 * X / WIDTH,
    "round gradient": lambda rng: 250 - np.hypot(X - 450, Y - 350) / 3,
    "rings": lambda rng: 130 + 100 * np.sin(np.hypot(X - 450, Y - 350) / 9),
    "stripes": lambda rng: 40 + 190 * ((X + Y) // 30 % 2),
    "noise": lambda rng: rng.uniform(0, 255, X.shape),
    "clouds": lambda rng: 255 * _cloud(rng),
    "marble": lambda rng: 150 + 90 * np.sin(X / 60 + 12 * _cloud(rng, 8)),
    "bricks": _bricks,
    "weave": _weave,
    "wood": _wood,
    "polka dots": _polka,
    "zebra": _zebra,
}
PHOTOS = {
    "landscape": _landscape,
    "mountains": _mountains,
    "sea": _sea,
    "city": _city,
    "forest": _forest,
    "night sky": _night,
    "bokeh": _bokeh,
    "fruit": _fruit,
    "portrait": _portrait,
}


def read_all(recognizer: ParagraphTextRecognizer) -> dict:
    """Reads all, prints a row for each, and returns what the JSON line says."""
    counts = {"pictures": 0, "empty": 0, "doubtful": 0, "silent": 0}
    for name, picture in pictures():
        reading = recognizer.read(picture)
        result = "empty" if not reading.text else "doubtful" if reading.note else "silent"
        counts["pictures"] += 1
        counts[result] += 1
        shown = " / ".join(reading.text.split("\n"))[:60]
        print(f"{name:28}{result:10}{shown}", flush=True)
    share = counts["silent"] / counts["pictures"]
    return {
        **counts,
        "targets": {"silent": {"value": share, "limit": LIMIT, "met": share <= LIMIT}},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="TorchScript file (default: the packaged one)")
    parser.add_argument("--sheet", type=Path, help="only draw the pictures, on a sheet (PNG)")
    options = parser.parse_args()
    if options.sheet:
        names, drawn = zip(*pictures(), strict=True)
        contact_sheet(drawn, names).save(options.sheet)
        return 0
    try:
        summary = read_all(ParagraphTextRecognizer(options.model))
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"benchmark": "no_writing", **summary}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
