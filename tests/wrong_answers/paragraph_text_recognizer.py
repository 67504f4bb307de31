"""Typical mistakes in the exercises of notebook 03, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

LINES = "if here >= least and here > up and here >= down"
ROWS = "rows = (torch.arange(height) + 0.5) / height"
CELL = "min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (read != wanted))"

BRIGHTEST = "F.max_pool2d(page, size, stride=1, padding=half)"
MEAN = "F.avg_pool2d(brightest, size, stride=1, padding=half, count_include_pad=False)"
SCALED = "2 * x / page_width - 1, 2 * y / page_height - 1"
UPRIGHT = "upright = ImageOps.exif_transpose(image)"

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "gray_page": [
        ("ImageOps.exif_transpose(image)", "image", "as its EXIF data says"),
        (
            'Image.alpha_composite(paper, upright).convert("L")',
            'ImageOps.exif_transpose(image).convert("L")',
            "paper without ink is white",
        ),
        (
            "    return Image",
            "    upright.putalpha(upright.getchannel('A').point(lambda a: 255 * (a > 0)))\n"
            "    return Image",
            "half transparent ink blends",
        ),
        ('upright).convert("L")', 'upright).convert("RGB")', 'the mode "RGB", not "L"'),
        (
            UPRIGHT,
            "ImageOps.exif_transpose(image, in_place=True)\n    upright = image",
            "changed or returned the picture",
        ),
        (
            UPRIGHT,
            'if image.mode == "L":\n        return image.copy()\n    ' + UPRIGHT,
            "mode L whose EXIF orientation is 3",
        ),
        (
            UPRIGHT,
            'if image.mode == "RGB":\n        return ImageOps.exif_transpose(image).convert("L")\n'
            "    " + UPRIGHT,
            "of the mode RGB with a transparent part",
        ),
        ('upright).convert("L")', 'upright).getchannel("R")', "all colours together"),
        (
            """
from PIL import ImageChops, ImageOps

def gray_page(image):
    gray, alpha = ImageOps.exif_transpose(image).convert("LA").split()
    return ImageChops.lighter(gray, ImageChops.invert(alpha))
""",
            "half transparent ink blends",
        ),
    ],
    "paper_of": [
        (", count_include_pad=False", "", "a blank page.*count_include_pad"),
        (BRIGHTEST, "page", "before you average"),
        (MEAN, "brightest", "its mean within size x size px"),
        (BRIGHTEST, "torch.full_like(page, page.max())", "half dark, .* look around each pixel"),
        (
            MEAN,
            'F.avg_pool2d(F.pad(brightest, (half,) * 4, mode="replicate"), size, stride=1)',
            "no copies",
        ),
    ],
    "lines_in_column": [
        (LINES, "if here >= least", "if no neighbour is higher"),
        (LINES, "if here >= least and here > up and here > down", "of equal neighbours only"),
        (
            "enumerate(triples)\n",
            "enumerate(triples)\n        if 0 < row < len(column) - 1\n",
            "the first and the last row may be peaks",
        ),
        ("if here >= least", "if here >= 0.4", "compare with the argument|exactly `least` counts"),
        ("if here >= least", "if here > least", "a peak of exactly `least` counts"),
    ],
    "strip_grid": [
        (SCALED, "2 * x / (page_width - 1) - 1, 2 * y / (page_height - 1) - 1", "not the centres"),
        (ROWS, "rows = torch.arange(height) / height", "y up to 1.50.*its own centre"),
        (SCALED, "2 * y / page_height - 1, 2 * x / page_width - 1", "last dimension is x, y"),
        (
            SCALED,
            "(2 * x + 1) / page_width - 1, (2 * y + 1) / page_height - 1",
            "up to 0.50 px off",
        ),
        ("offset[:, None]", "offset[:, None]\n    y = y.clamp(0, page_size[0])", "upper edge"),
        (
            ROWS,
            "rows = (torch.arange(height) - height // 2 + 0.5) / height + 0.5",
            "five rows",
        ),
        (
            "x = path[None, :, 0]",
            "x = torch.linspace(float(path[0, 0]), float(path[-1, 0]), len(path))[None]",
            "uneven distances",
        ),
    ],
    "greedy_decode": [
        (
            "for now in classes:",
            "for now in [one for one in classes if one != blank]:",
            "keeps both: mind the order",
        ),
        ("if now != before and now != blank", "if now != blank", "take it once"),
        ("for now in classes:", "for now in dict.fromkeys(classes):", "keeps both|come back later"),
        ("now != blank", "now != 0", "the blank is not always 0"),
        ("before = [], blank", "before = [], (classes or [0])[-1]", "the first has none before"),
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
        ("max(len(label), 1)", "max(len(label), len(reading), 1)", "the length of the label"),
        ("max(len(label), 1)", "len(label)", "stopped with ZeroDivisionError"),
        (CELL, CELL.replace(" row[j - 1] + 1,", ""), "the last two characters were left out"),
        (
            CELL,
            CELL.replace("read != wanted", "read.lower() != wanted.lower()"),
            "upper and lower case differ",
        ),
        (
            "return above[-1] / max(len(label), 1)",
            "return min(1.0, above[-1] / len(label)) if label else above[-1]",
            "a rate may be above 1",
        ),
        (
            """
def character_error_rate(reading, label):
    def edits(i, j):
        if not i or not j:
            return i + j
        other = reading[i - 1] != label[j - 1]
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + other)
    return edits(len(reading), len(label)) / (len(label) or 1)
""",
            "took longer than .* done again and again",
        ),
    ],
}
