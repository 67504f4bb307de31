"""Typical mistakes in the exercises of notebook 03, and what the check must say about each."""

from answering import filled

GRAY_PAGE = """
from PIL import Image, ImageOps

def gray_page(image: Image.Image) -> Image.Image:
    {body}
"""

PAPER_OF = """
import torch
import torch.nn.functional as F

def paper_of(page, size=25):
    half = size // 2
    {body}
"""

LINES_IN_COLUMN = """
def lines_in_column(column, least=0.4):
    values = [0.0, *column.tolist(), 0.0]
    {body}
"""

STRIP_GRID = """
import torch

def strip_grid(path, reach, height, page_size):
    page_height, page_width = page_size
    rows = (torch.arange(height) + 0.5) / height
    {body}
    x = path[None, :, 0].expand_as(y)
    return torch.stack([{x}, {y}], dim=2)[None]
"""
Y = "y = path[None, :, 1] + (reach * (2 * rows - 1))[:, None]"

CHARACTER_ERROR_RATE = """
def character_error_rate(reading, label):
    above = list(range(len(label) + 1))
    for i, read in enumerate(reading, start=1):
        row = [i]
        for j, wanted in enumerate(label, start=1):
            row.append(min({choices}))
        above = row
    return {rate}
"""
CHOICES = "above[j] + 1, row[j - 1] + 1, above[j - 1] + (read != wanted)"
RATE = "above[-1] / max(len(label), 1)"

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "gray_page": filled(
        GRAY_PAGE,
        ('return image.convert("L")', "was not rotated"),
        (
            'return ImageOps.exif_transpose(image).convert("L")',
            "transparent part has the gray level 0, not 255",
        ),
        (
            """turned = ImageOps.exif_transpose(image).convert("RGBA")
    page = Image.new("L", turned.size, 255)
    page.paste(turned.convert("L"), mask=turned.getchannel("A").point(lambda a: 255 * (a > 0)))
    return page""",
            "is half transparent has the gray level 0",
        ),
        (
            """paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("L")""",
            "while it still has its EXIF data",
        ),
        (
            """angle = {3: 180, 6: 90, 8: 270}.get(image.getexif().get(274), 0)
    rgba = image.convert("RGBA").rotate(angle, expand=True)
    paper = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(paper, rgba).convert("L")""",
            "was rotated the wrong way",
        ),
        ("return ImageOps.exif_transpose(image)", 'the mode "RGB", not "L"'),
        (
            """ImageOps.exif_transpose(image, in_place=True)
    return image.convert("L")""",
            "changed the picture that it was given",
        ),
    ),
    "paper_of": [
        *filled(
            PAPER_OF,
            ("return F.avg_pool2d(page, size, 1, half)", "must not be averaged in"),
            (
                "return F.avg_pool2d(page, size, 1, half, count_include_pad=False)",
                "look for the brightest level",
            ),
            ("return F.max_pool2d(page, size, 1, half)", "the paper jumps by 80"),
            ("return F.max_pool2d(page, size, padding=half)", r"has the shape \(1, 1, \d+, \d+\)"),
            ("return torch.full_like(page, page.max())", "not over the whole page"),
            (
                """mean = F.avg_pool2d(page, 3, 1, 1, count_include_pad=False)
    mean = F.max_pool2d(mean, size, 1, half)
    return F.avg_pool2d(mean, size, 1, half, count_include_pad=False)""",
                "in this order",
            ),
        ),
        (
            """
import torch.nn.functional as F

def paper_of(page, size=25):
    half = size // 2
    wide = F.max_pool2d(page, size, stride=1, padding=half)
    return F.avg_pool2d(F.pad(wide, (half,) * 4, mode="replicate"), size, stride=1)
""",
            "wrong along its edges",
        ),
    ],
    "lines_in_column": [
        *filled(
            LINES_IN_COLUMN,
            ("return [r for r, v in enumerate(column) if v >= least]", "if no neighbour is higher"),
            (
                """return [r for r in range(len(column))
            if values[r] < values[r + 1] > values[r + 2]  and values[r + 1] >= least]""",
                "of equal neighbours only the first one counts",
            ),
            (
                """return [r for r in range(len(column))
            if values[r] <= values[r + 1] >= values[r + 2] and values[r + 1] >= least]""",
                "of equal neighbours only the first one counts",
            ),
            (
                """v = column.tolist()
    return [r for r in range(1, len(v) - 1) if v[r - 1] < v[r] >= v[r + 1] and v[r] >= least]""",
                "the first and the last row may be peaks",
            ),
            (
                """return [r for r in range(len(column))
            if values[r] < values[r + 1] >= values[r + 2] and values[r + 1] >= 0.4]""",
                "compare with the argument",
            ),
            (
                """return len([r for r in range(len(column))
            if values[r] < values[r + 1] >= values[r + 2] and values[r + 1] >= least])""",
                "returned an int, not list",
            ),
        ),
        (
            """
def lines_in_column(column, least=0.4):
    v = [0.0, *column.tolist(), 0.0]
    rows = range(1, len(v) - 1)
    return [r - 1 for r in rows if v[r] > least and v[r] > v[r - 1] and v[r] >= v[r + 1]]
""",
            "a peak of just `least` counts",
        ),
    ],
    "strip_grid": [
        (
            STRIP_GRID.format(
                body=Y, x="2 * x / (page_width - 1) - 1", y="2 * y / (page_height - 1) - 1"
            ),
            "x is up to .* px off.*not the centres",
        ),
        (
            STRIP_GRID.format(
                body="y = path[None, :, 1] + (reach * (2 * torch.arange(height) / height - 1))"
                "[:, None]",
                x="2 * x / page_width - 1",
                y="2 * y / page_height - 1",
            ),
            "y are 1.50 px too small.*its own centre",
        ),
        (
            STRIP_GRID.format(
                body="y = path[None, :, 1] + torch.linspace(-reach, reach, height)[:, None]",
                x="2 * x / page_width - 1",
                y="2 * y / page_height - 1",
            ),
            "first and last row are 24.00 px of the page apart, not 21.00",
        ),
        (
            STRIP_GRID.format(body=Y, x="2 * y / page_height - 1", y="2 * x / page_width - 1"),
            "last dimension is x, y",
        ),
        (STRIP_GRID.format(body=Y, x="x", y="y"), "should be from -1 to 1"),
        (
            STRIP_GRID.format(
                body=Y, x="2 * (x + 0.5) / page_width - 1", y="2 * (y + 0.5) / page_height - 1"
            ),
            "all x are 0.50 px too large",
        ),
        (
            STRIP_GRID.format(
                body=Y, x="2 * x / page_width - 1", y="2 * y / page_height - 1"
            ).replace("dim=2", "dim=0"),
            r"not \(1, 8, 40, 2\)",
        ),
    ],
    "greedy_decode": [
        (
            """
def greedy_decode(classes, blank=0):
    kept = [c for c in classes if c != blank]
    return [c for before, c in zip([blank, *kept], kept) if c != before]
""",
            "keeps both: mind the order",
        ),
        (
            "def greedy_decode(classes, blank=0):\n    return [c for c in classes if c != blank]",
            "take it once",
        ),
        (
            """
def greedy_decode(classes, blank=0):
    return [c for before, c in zip([blank, *classes], classes) if c != before]
""",
            "leave the blanks out",
        ),
        (
            """
def greedy_decode(classes, blank=0):
    return [c for c in dict.fromkeys(classes) if c != blank]
""",
            "keeps both|come back later",
        ),
        (
            """
def greedy_decode(classes, blank=0):
    pairs = zip([0, *classes], classes)
    return [c for before, c in pairs if c != before and c != 0]
""",
            "the blank is not always 0",
        ),
        (
            """
def greedy_decode(classes, blank=0):
    return [c for i, c in enumerate(classes) if c != classes[i - 1] and c != blank]
""",
            "index -1 means the last one",
        ),
    ],
    "character_error_rate": [
        (
            """
def character_error_rate(reading, label):
    wrong = sum(r != l for r, l in zip(reading, label)) + abs(len(reading) - len(label))
    return wrong / max(len(label), 1)
""",
            "one character was inserted",
        ),
        (
            CHARACTER_ERROR_RATE.format(choices=CHOICES, rate="above[-1]"),
            "not 0.250",
        ),
        (
            CHARACTER_ERROR_RATE.format(
                choices=CHOICES, rate="above[-1] / max(len(label), len(reading), 1)"
            ),
            "divide by the length of the label",
        ),
        (
            CHARACTER_ERROR_RATE.format(choices=CHOICES, rate="above[-1] / len(label)"),
            "stopped with ZeroDivisionError",
        ),
        (
            CHARACTER_ERROR_RATE.format(
                choices="above[j] + 1, row[j - 1] + 1, above[j - 1] + 2 * (read != wanted)",
                rate=RATE,
            ),
            "one character of four was replaced",
        ),
        (
            CHARACTER_ERROR_RATE.format(
                choices="above[j] + 1, above[j - 1] + (read != wanted)", rate=RATE
            ),
            "the last two characters were left out",
        ),
        (
            CHARACTER_ERROR_RATE.format(
                choices="above[j] + 1, row[j - 1] + 1, "
                "above[j - 1] + (read.lower() != wanted.lower())",
                rate=RATE,
            ),
            "upper and lower case differ",
        ),
        (
            """
def character_error_rate(reading, label):
    above = list(range(len(label) + 1))
    for i, one in enumerate(reading, start=1):
        row = [i]
        for j, other in enumerate(label, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (one != other)))
        above = row
    return min(1.0, above[-1] / max(len(label), 1)) if label else above[-1]
""",
            "a rate may be above 1",
        ),
    ],
}
