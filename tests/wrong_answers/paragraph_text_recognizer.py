"""Typical mistakes in the exercises of notebook 03, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

LINES = "if here >= least and here > up and here >= down"
ROWS = "rows = (torch.arange(height) + 0.5) / height"
CELL = "min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (read != wanted))"

WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "gray_page": [
        ("ImageOps.exif_transpose(image)", "image", "as its EXIF data says"),
        (
            'exif_transpose(image).convert("RGBA")',
            'exif_transpose(image.convert("RGBA").convert("RGB")).convert("RGBA")',
            "as its EXIF data says|a transparent picture",
        ),
        (
            'Image.alpha_composite(paper, upright).convert("L")',
            'ImageOps.exif_transpose(image).convert("L")',
            "a transparent picture, .* paper without ink is white",
        ),
        (
            "    return Image",
            "    upright.putalpha(upright.getchannel('A').point(lambda a: 255 * (a > 0)))\n"
            "    return Image",
            "half transparent ink blends",
        ),
        (
            "upright = ImageOps.exif_transpose(image)",
            "angle = {3: 180, 6: 90, 8: 270}.get(image.getexif().get(274), 0)\n"
            "    upright = image.rotate(angle, expand=True)",
            "as its EXIF data says",
        ),
        ('upright).convert("L")', 'upright).convert("RGB")', 'the mode "RGB", not "L"'),
        (
            "upright = ImageOps.exif_transpose(image)",
            "ImageOps.exif_transpose(image, in_place=True)\n    upright = image",
            "changed or returned the picture that it was given",
        ),
    ],
    "paper_of": [
        (", count_include_pad=False", "", "a blank page.*count_include_pad"),
        (
            "F.max_pool2d(page, size, stride=1, padding=half)",
            "page",
            "before you average",
        ),
        (
            "F.avg_pool2d(brightest, size, stride=1, padding=half, count_include_pad=False)",
            "brightest",
            "half dark, .* its mean within size x size px",
        ),
        (
            "F.max_pool2d(page, size, stride=1, padding=half)",
            "F.max_pool2d(page, size, padding=half)",
            r"has the shape \(1, 1, \d+, \d+\)",
        ),
        (
            "F.max_pool2d(page, size, stride=1, padding=half)",
            "torch.full_like(page, page.max())",
            "half dark, .* look around each pixel",
        ),
        (
            "F.max_pool2d(page, ",
            "F.max_pool2d(F.avg_pool2d(page, 3, 1, 1, count_include_pad=False), ",
            "first the brightest level",
        ),
        (
            "F.avg_pool2d(brightest, size, stride=1, padding=half, count_include_pad=False)",
            'F.avg_pool2d(F.pad(brightest, (half,) * 4, mode="replicate"), size, stride=1)',
            "no copies",
        ),
    ],
    "lines_in_column": [
        (LINES, "if here >= least", "if no neighbour is higher"),
        (LINES, "if here >= least and here > up and here > down", "of equal neighbours only"),
        (LINES, "if here >= least and here >= up and here >= down", "of equal neighbours only"),
        (
            "enumerate(triples)\n",
            "enumerate(triples)\n        if 0 < row < len(column) - 1\n",
            "the first and the last row may be peaks",
        ),
        ("if here >= least", "if here >= 0.4", "compare with the argument|exactly `least` counts"),
        ("if here >= least", "if here > least", "a peak of exactly `least` counts"),
        ("    return [", "    return 3\n    [", "returned an int, not list"),
        (
            "    values = [",
            "    column[column < least] = 0\n    values = [",
            "changed what it was given",
        ),
    ],
    "strip_grid": [
        (
            "2 * x / page_width - 1, 2 * y / page_height - 1",
            "2 * x / (page_width - 1) - 1, 2 * y / (page_height - 1) - 1",
            "x is up to .* px off.*not the centres",
        ),
        (ROWS, "rows = torch.arange(height) / height", "y up to 1.50.*its own centre"),
        (ROWS, "rows = torch.linspace(0, 1, height)", "y up to 1.50.*its own centre"),
        (
            "2 * x / page_width - 1, 2 * y / page_height - 1",
            "2 * y / page_height - 1, 2 * x / page_width - 1",
            "last dimension is x, y",
        ),
        (
            "2 * x / page_width - 1, 2 * y / page_height - 1",
            "x, y",
            "-1 is the left or upper edge",
        ),
        (
            "2 * x / page_width - 1, 2 * y / page_height - 1",
            "(2 * x + 1) / page_width - 1, (2 * y + 1) / page_height - 1",
            "x is up to 0.50 px off and y up to 0.50",
        ),
        ("dim=2", "dim=0", r"not a float of shape \(1, 8, 40, 2\)"),
        (
            "offset[:, None]",
            "offset[:, None]\n    y = y.clamp(0, page_size[0])",
            "upper edge",
        ),
    ],
    "greedy_decode": [
        (
            "for now in classes:",
            "for now in [one for one in classes if one != blank]:",
            "keeps both: mind the order",
        ),
        ("if now != before and now != blank", "if now != blank", "take it once"),
        ("if now != before and now != blank", "if now != before", "leave the blanks out"),
        (
            "for now in classes:",
            "for now in dict.fromkeys(classes):",
            "keeps both|come back later",
        ),
        ("now != blank", "now != 0", "the blank is not always 0"),
        ("before = [], blank", "before = [], (classes or [0])[-1]", "the first has none before"),
        ("before = [], blank", "before = [], 0", r"for the frames \[0, 0, 5\], blank 7"),
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
        ("above[-1] / max(len(label), 1)", "above[-1]", "not 0.250"),
        ("max(len(label), 1)", "max(len(label), len(reading), 1)", "the length of the label"),
        ("max(len(label), 1)", "len(label)", "stopped with ZeroDivisionError"),
        (CELL, CELL.replace("(read", "2 * (read"), "one character of four was replaced"),
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
    ],
}
