"""Checks of notebook 03: an upload, paper, ridges, a sampling grid, CTC, and the error rate."""

import io
import random
from functools import partial

import torch
import torch.nn.functional as F
from PIL import ExifTags, Image
from torch import Tensor

from lab_utils.lessons import checking
from lab_utils.lessons.checking import Answer, attempt, check, expect, expect_type, fail, name_of

go_on = partial(checking.go_on, "paragraph_text_recognizer")

TURNED = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_270,
    8: Image.Transpose.ROTATE_90,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    7: Image.Transpose.TRANSVERSE,
}
"""What EXIF's orientation asks for: three ways in which phones are held, and mirrored ones."""


@check
def gray_page(function: Answer) -> str:
    """Photos are upright, what is transparent is white paper, all is gray; nothing is changed."""
    upright = Image.linear_gradient("L").resize((24, 16))
    upright.paste(0, (2, 2, 8, 5))  # no turn or flip leaves this corner in its place
    result = _page_of(function, upright)
    expect(
        result.tobytes() == upright.tobytes(),
        "gray_page changed a picture that was already gray, upright and opaque.",
    )
    for orientation, turn in TURNED.items():
        photo = _opened(upright.convert("RGB"), orientation)
        result, wanted = _page_of(function, photo), photo.convert("L").transpose(turn)
        expect(
            result.size == wanted.size and result.tobytes() != photo.convert("L").tobytes(),
            f"a photo whose EXIF orientation is {orientation} was not rotated: "
            "rotate the picture before anything else, while it still has its EXIF data.",
        )
        expect(
            result.tobytes() == wanted.tobytes(),
            f"a photo whose EXIF orientation is {orientation} was rotated the wrong way.",
        )
    for orientation in (1, 6):
        ink = Image.new("RGBA", (24, 16), (0, 0, 0, 0))
        ink.paste((0, 0, 0, 255), (4, 4, 12, 12))
        ink.paste((0, 0, 0, 128), (12, 4, 20, 12))
        result = _page_of(function, _opened(ink, orientation))
        if orientation in TURNED:
            result = result.transpose(TURNED[{6: 8}[orientation]])
        expect(
            result.size == ink.size,
            "a picture that is transparent and has an EXIF orientation was not rotated.",
        )
        paper, black, half = (result.getpixel(place) for place in ((1, 1), (8, 8), (16, 8)))
        expect(
            paper == 255,
            f"the transparent part has the gray level {paper}, not 255: put the picture on white "
            "paper before its transparency is lost.",
        )
        expect(black == 0, f"opaque black ink has the gray level {black}, not 0.")
        expect(
            120 <= half <= 135,
            f"black ink that is half transparent has the gray level {half}, "
            "not about 127: blend paper and ink.",
        )
    for kind in ("P", "LA"):
        _expect_transparent(function, kind)
    return "pages come upright, gray, and on white paper."


def _expect_transparent(function: Answer, mode: str) -> None:
    """Transparency that is kept in other ways than in RGBA."""
    if mode == "P":
        picture = Image.new("P", (24, 16), 0)
        picture.putpalette([0, 0, 0, 90, 90, 90])
        picture.info["transparency"] = 0
        picture.paste(1, (4, 4, 12, 12))
    else:
        picture = Image.new("LA", (24, 16), (0, 0))
        picture.paste((90, 255), (4, 4, 12, 12))
    result = _page_of(function, picture)
    paper, ink = result.getpixel((1, 1)), result.getpixel((8, 8))
    expect(
        (paper, ink) == (255, 90),
        f"of a picture of the mode {mode} with a transparent part, that part has the gray level "
        f"{paper}, not 255, and ink of 90 has {ink}: bring every mode into one with transparency.",
    )


def _page_of(function: Answer, image: Image.Image) -> Image.Image:
    before = (image.size, image.mode, image.tobytes())
    result = expect_type(attempt(function, image), Image.Image, "gray_page")
    expect(result is not image, "gray_page returned the picture that it was given: make a new one.")
    expect(
        (image.size, image.mode, image.tobytes()) == before,
        "gray_page changed the picture that it was given: make a new one.",
    )
    expect(result.mode == "L", f'the page has the mode "{result.mode}", not "L" (8-bit gray).')
    return result


def _opened(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it comes out of a file whose EXIF data has this orientation."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(file, "PNG", exif=exif)
    opened = Image.open(io.BytesIO(file.getvalue()))
    opened.load()
    return opened


@check
def paper_of(function: Answer) -> str:
    """The paper goes on below the ink and at the page's edges, smoothly, and is nowhere darker."""
    blank = torch.full((1, 1, 40, 60), 200.0)
    result = _like(attempt(function, blank.clone(), 9), blank)
    edge = float(result[0, 0, 0, 0])
    expect(
        abs(edge - 200) < 0.01,
        f"of a blank page of gray level 200, the paper in the corner has {edge:.1f}: what lies "
        "beyond the page must not be averaged in (look at avg_pool2d's count_include_pad).",
    )
    written = blank.clone()
    written[:, :, 18:21, 10:50] = 40.0
    result = _like(attempt(function, written.clone(), 9), written)
    lowest = float(result.min())
    expect(
        lowest > 199.9,
        f"under a stroke of gray level 40 on paper of 200, the paper has {lowest:.1f}: look for "
        "the brightest level around each pixel before anything is averaged.",
    )
    folded = blank.clone()
    folded[:, :, :, 30:] = 120.0
    result = _like(attempt(function, folded.clone(), 9), folded)[0, 0, 20]
    dark = float(result[-1])
    expect(
        dark < 121,
        f"far from a fold, where the paper's gray level is 120, the paper has {dark:.0f}: look "
        "around each pixel, not over the whole page.",
    )
    step = float((result[1:] - result[:-1]).abs().max())
    expect(
        step < 20,
        f"where the light changes from 200 to 120, the paper jumps by {step:.0f} from one pixel to "
        "the next: average the brightest levels over size x size px.",
    )
    page = torch.rand(1, 1, 31, 45, generator=torch.Generator().manual_seed(3)) * 255
    for size in (9, 5, 25):
        wanted = F.max_pool2d(page, size, stride=1, padding=size // 2)
        wanted = F.avg_pool2d(wanted, size, 1, size // 2, count_include_pad=False)
        result = _like(attempt(function, page.clone(), size), page)
        inside = (..., slice(size, -size), slice(size, -size))
        expect(
            not wanted[inside].numel()
            or not torch.allclose(result[inside], wanted[inside], atol=0.01)
            or torch.allclose(result, wanted, atol=0.01),
            f"with size {size}, the paper is right inside the page but wrong along its edges: only "
            "what is on the page counts there, not copies or mirror images of it, and no zeros.",
        )
        expect(
            torch.allclose(result, wanted, atol=0.01),
            f"with size {size}, the paper is not the brightest levels around each pixel, averaged: "
            "both steps look at size x size px, in this order.",
        )
    expect(
        torch.equal(attempt(function, page.clone()), attempt(function, page.clone(), 25)),
        "without a size given, paper_of does not look at 25 x 25 px.",
    )
    return "the paper's gray level is known, even under the ink."


def _like(result: Tensor, page: Tensor) -> Tensor:
    result = expect_type(result, Tensor, "paper_of")
    expect(
        result.shape == page.shape,
        f"of a page of shape {tuple(page.shape)}, the paper has the shape {tuple(result.shape)}: "
        "move the window by one pixel (stride), and pad half of its size.",
    )
    return result


@check
def lines_in_column(function: Answer) -> str:
    """Each hill that is high enough counts once, wherever it lies."""
    hills = torch.tensor([0.0, 0.2, 0.9, 0.3, 0.0, 0.1, 0.3, 0.1, 0.0, 0.6, 0.8, 0.5, 0.0])
    _expect_rows(function, hills, [2, 10], "two hills above 0.4, and one of 0.3", TWO_HILLS)
    flat = torch.tensor([0.0, 0.5, 0.8, 0.8, 0.8, 0.4, 0.0])
    _expect_rows(function, flat, [2], "one hill with a flat top", FLAT_HILL)
    ends = torch.tensor([0.9, 0.5, 0.0, 0.0, 0.5, 0.7])
    _expect_rows(function, ends, [0, 5], "hills that the page's edges cut", CUT_HILLS)
    _expect_rows(function, torch.zeros(8), [], "no writing at all", "nothing is a peak there.")
    just = torch.tensor([0.0, 0.5, 0.0, 0.25])
    result = expect_type(attempt(function, just, 0.5), list, "lines_in_column")
    expect(
        result == [1],
        f"with least=0.5 and {just.tolist()}, lines_in_column found {result}, not [1]: a peak of "
        "just `least` counts.",
    )
    result = expect_type(attempt(function, hills.clone(), 0.2), list, "lines_in_column")
    expect(
        result == [2, 6, 10],
        "with least=0.2 the hill of 0.3 counts, too: compare with the argument, not with 0.4.",
    )
    generator = torch.Generator().manual_seed(5)
    for round_ in range(20):
        column = torch.rand(40, generator=generator)
        if round_ % 2:  # flat tops, and steps on a slope
            column = (column * 5).round() / 5
        values = [0.0, *column.tolist(), 0.0]
        wanted = [
            row
            for row in range(40)
            if values[row + 1] >= column.new_tensor(0.4).item()
            and values[row] < values[row + 1] >= values[row + 2]
        ]
        _expect_rows(function, column, wanted, "random values", "compare each row with both.")
    return "each line that a column crosses is counted once."


TWO_HILLS = "a row is a peak if no neighbour is higher, and if it reaches `least`."
FLAT_HILL = "of equal neighbours only the first one counts: `>` on one side and `>=` on the other."
CUT_HILLS = "the first and the last row may be peaks, too: outside the column everything is 0."


def _expect_rows(
    function: Answer, column: Tensor, wanted: list[int], what: str, advice: str
) -> None:
    result = expect_type(attempt(function, column.clone()), list, "lines_in_column")
    shown = [round(value, 2) for value in column.tolist()]
    expect(
        result == wanted,
        f"in a column with {what}, {shown if len(shown) < 20 else '40 of them'}, "
        f"lines_in_column found peaks in the rows {result}, not {wanted}: {advice}",
    )


@check
def strip_grid(function: Answer) -> str:
    """The positions in px that the grid means are the path's, also beyond the page's edge."""
    page_size, height, reach = (60, 100), 8, 12.0
    x = torch.linspace(10, 90, 40)
    for name, y in (
        ("level", torch.full((40,), 30.0)),
        ("waving", 30 + 10 * torch.sin(x / 12)),
        ("level (5 px from the page's upper edge)", torch.full((40,), 5.0)),
    ):
        path = torch.stack([x, y], dim=1)
        grid = attempt(function, path.clone(), reach, height, page_size)
        grid = expect_type(grid, Tensor, "strip_grid")
        expect(
            grid.shape == (1, height, 40, 2),
            f"for a path of 40 points and a height of {height}, the grid has the shape "
            f"{tuple(grid.shape)}, not (1, {height}, 40, 2).",
        )
        expect(
            grid.is_floating_point() and ("edge" in name or float(grid.abs().max()) <= 1),
            "these positions are on the page, so all numbers of the grid should be from -1 to 1: "
            "divide px by the page's size, and mind which of the sizes is the width.",
        )
        found_x = (grid[0, :, :, 0] + 1) / 2 * page_size[1]
        found_y = (grid[0, :, :, 1] + 1) / 2 * page_size[0]
        rows = (torch.arange(height) + 0.5) / height
        wanted_x = path[None, :, 0].expand(height, 40)
        wanted_y = path[None, :, 1] + reach * (2 * rows - 1)[:, None]
        _expect_place(name, "x", found_x - wanted_x)
        _expect_height(name, found_y, 2 * reach * (height - 1) / height)
        _expect_place(name, "y", found_y - wanted_y)
    return "the strip follows the path, to a fraction of a pixel."


def _expect_place(name: str, axis: str, off: Tensor) -> None:
    middle, most = float(off.mean()), float(off.abs().max())
    if most < 0.02:
        return
    if abs(abs(middle) - most) < 0.01:
        what = f"all {axis} are {abs(middle):.2f} px too {'large' if middle > 0 else 'small'}"
    else:
        what = f"{axis} is up to {most:.2f} px off"
    rows = " Each row of the strip looks at its own centre." if axis == "y" else ""
    fail(
        f"along a {name} path, {what}. The grid's last dimension is x, y; -1 is the left or upper "
        f"edge of the page and 1 the other edge (not the centres of the outer pixels).{rows}"
    )


def _expect_height(name: str, y: Tensor, wanted: float) -> None:
    found = float((y[-1] - y[0]).mean())
    expect(
        abs(found - wanted) < 0.05,
        f"along a {name} path, the centres of the strip's first and last row are {found:.2f} px "
        f"of the page apart, not {wanted:.2f}: the strip is 2 * reach high from edge to edge, and "
        "the centre of a row is half a row below its upper edge.",
    )


@check
def greedy_decode(function: Answer) -> str:
    """Repeats become one, blanks go, and the blank between two equal letters keeps both."""
    first = "before the first frame there is none, and the index -1 means the last one."
    cases = [
        ([0, 8, 0, 9, 0], [8, 9], "there are blanks around two letters: leave the blanks out."),
        ([8, 8, 8, 9, 9], [8, 9], "a letter may last several frames: take it once."),
        ([8, 9, 8], [8, 9, 8], "a letter may come back later: compare with the frame before."),
        (
            [12, 12, 0, 12],
            [12, 12],
            "a blank between two equal letters keeps both: mind the order.",
        ),
        ([0, 0, 0], [], "only blanks are an empty line."),
        ([], [], "no frames are an empty line."),
    ]
    for frames, wanted, advice in cases:
        result = expect_type(attempt(function, list(frames), 0), list, "greedy_decode")
        if frames == [8, 9, 8] and result == [9, 8]:
            advice = first
        expect(
            result == wanted,
            f"the frames {frames} with blank 0 became {result}, not {wanted}: {advice}",
        )
    result = expect_type(attempt(function, [0, 4, 4, 0, 4]), list, "greedy_decode")
    expect(
        result == [4, 4],
        f"the frames [0, 4, 4, 0, 4] became {result}, not [4, 4], without a blank given: it is 0.",
    )
    for frames, wanted in (([5, 5, 7, 0, 0, 7, 5], [5, 0, 5]), ([0, 0, 5], [0, 5])):
        result = expect_type(attempt(function, list(frames), 7), list, "greedy_decode")
        expect(
            result == wanted,
            f"the frames {frames} became {result}, not {wanted}, with blank 7: compare with the "
            "argument, the blank is not always 0.",
        )
    choose = random.Random(7)
    for _ in range(50):
        frames = [choose.choice([0, 0, 1, 2]) for _ in range(12)]
        pairs = zip([0, *frames], frames, strict=False)
        wanted = [now for before, now in pairs if now != before and now != 0]
        result = expect_type(attempt(function, list(frames), 0), list, "greedy_decode")
        expect(result == wanted, f"the frames {frames} became {result}, not {wanted}.")
    return "repeats are one letter, and a blank keeps double letters apart."


@check
def character_error_rate(function: Answer) -> str:
    """The fewest insertions, deletions and substitutions, over the label's length."""
    cases = [
        ("line", "line", 0.0, "equal texts have no error."),
        ("lime", "line", 0.25, "one character of four was replaced."),
        ("abcd", "ab", 1.0, "two edits: divide by the length of the label, not of another text."),
        ("abcdef", "ab", 2.0, "four edits for two characters: a rate may be above 1."),
        ("the lline", "the line", 1 / 8, "one character was inserted; what follows it is right."),
        ("he line", "the line", 1 / 8, "one character was left out; what follows it is right."),
        ("sitting", "kitten", 3 / 6, "two were replaced and one was inserted."),
        ("ab", "abcd", 0.5, "the last two characters were left out."),
        ("", "abc", 1.0, "all characters were left out."),
        ("Line", "line", 0.25, "upper and lower case differ."),
        ("a b", "a\nb", 1 / 3, "a newline is a character, too."),
        ("ab", "", 2.0, "if the label is empty, each extra character counts as one."),
        ("", "", 0.0, "there was nothing to read, and nothing was read."),
    ]
    for reading, label, wanted, advice in cases:
        result = attempt(function, reading, label)
        result = expect_type(result, (float, int), "character_error_rate")
        expect(
            abs(result - wanted) < 1e-6,
            f"reading {reading!r} for {label!r} has the rate {result:.3f}, not {wanted:.3f}: "
            f"{advice}",
        )
    choose = random.Random(11)
    for _ in range(60):
        reading, label = (
            "".join(choose.choice("ab ") for _ in range(choose.randint(1, 7))) for _ in range(2)
        )
        wanted = _edits(reading, label) / len(label)
        result = expect_type(attempt(function, reading, label), (float, int), name_of(function))
        expect(
            abs(result - wanted) < 1e-6,
            f"reading {reading!r} for {label!r} has the rate {result:.3f}, not {wanted:.3f}: look "
            "for the fewest edits, over all three kinds in each cell of the table.",
        )
    return "the rate is the fewest possible edits, divided by the label's length."


def _edits(reading: str, label: str) -> int:
    """Levenshtein's distance by its definition, for short texts."""
    if not reading or not label:
        return len(reading) + len(label)
    if reading[0] == label[0]:
        return _edits(reading[1:], label[1:])
    return 1 + min(
        _edits(reading[1:], label),
        _edits(reading, label[1:]),
        _edits(reading[1:], label[1:]),
    )
