"""Checks of notebook 03: an upload, paper, ridges, a sampling grid, CTC, and the error rate."""

import io
import random
from functools import partial

import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageChops
from torch import Tensor
from torchmetrics.functional.text import edit_distance

from lab_utils.figures import saved
from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_result,
    expect_type,
    saying,
    short,
)

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
    _expect_page(
        function, upright, upright, "a gray, upright and opaque picture", "leave it as it is"
    )
    for orientation, turn in TURNED.items():
        why = "rotate it as its EXIF data says, before anything else, while it still has that data"
        for mode in ("RGB", "L"):
            photo = _opened(upright.convert(mode), orientation)
            what = f"a photo of the mode {mode} whose EXIF orientation is {orientation}"
            _expect_page(function, photo, upright.transpose(turn), what, why)
    red = Image.new("RGB", (24, 16), (220, 30, 30))
    why = "the gray level comes from all colours together, not from one of them"
    _expect_page(function, red, red.convert("L"), "a red picture", why, most=45)
    ink, wanted = Image.new("RGBA", (24, 16), (0, 0, 0, 0)), Image.new("L", (24, 16), 255)
    for color, alpha, level, place in (
        (0, 255, 0, (4, 4, 12, 12)),
        (0, 128, 127, (12, 4, 20, 12)),
        (120, 255, 120, (4, 12, 12, 15)),
        (120, 128, 187, (12, 12, 20, 15)),
    ):
        ink.paste((color, color, color, alpha), place)
        wanted.paste(level, place)
    why = (
        "paper without ink is white, 255, and half transparent ink blends with it, black ink to "
        "about 127 and ink of the gray level 120 to about 187"
    )
    _expect_page(function, ink, wanted, "a transparent picture", why, most=8)
    turned = wanted.transpose(TURNED[6])
    _expect_page(function, _opened(ink, 6), turned, "a transparent, rotated picture", why, most=8)
    palette = Image.new("P", (24, 16), 0)
    palette.putpalette([0, 0, 0, 90, 90, 90])
    palette.info["transparency"] = 0
    palette.paste(1, (4, 4, 12, 12))
    two_bands = Image.new("LA", (24, 16), (0, 0))
    two_bands.paste((90, 255), (4, 4, 12, 12))
    one_color = Image.new("RGB", (24, 16), (0, 0, 0))
    one_color.info["transparency"] = (0, 0, 0)
    one_color.paste((90, 90, 90), (4, 4, 12, 12))
    wanted = Image.new("L", (24, 16), 255)
    wanted.paste(90, (4, 4, 12, 12))
    for picture in (palette, two_bands, one_color):
        what = f"a picture of the mode {picture.mode} with a transparent part"
        why = "convert every mode to one with transparency, and put it on white paper"
        _expect_page(function, picture, wanted, what, why)
    bilevel = upright.point(lambda level: 255 * (level > 127))
    for mode in ("1", "CMYK"):
        what = f"a picture of the mode {mode}"
        _expect_page(function, bilevel.convert(mode), bilevel, what, "leave its levels as they are")
    return "pages come upright, gray, and on white paper."


def _expect_page(
    function: Answer, image: Image.Image, wanted: Image.Image, what: str, why: str, most: int = 1
) -> None:
    """The page is the wanted one; each pixel may differ by `most` gray levels."""
    before = _told(image)
    with saying(f"for {what}"):
        page = expect_type(attempt(function, image), Image.Image, "gray_page")
        expect(
            page is not image and _told(image) == before,
            "gray_page changed or returned the picture that it was given: make a new one.",
        )
        expect(page.mode == "L", f'the page has the mode "{page.mode}", not "L" (8-bit gray).')
        expect(page.size == wanted.size, f"the page has the size {page.size}: {why}.")
        off = ImageChops.difference(page, wanted).getextrema()[1]
        expect(off <= most, f"gray levels on the page are off by up to {off}: {why}.")


def _told(image: Image.Image) -> tuple:
    """All of an image that a function may change."""
    return image.size, image.mode, image.tobytes(), dict(image.info), dict(image.getexif())


def _opened(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it comes out of a file whose EXIF data has this orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    opened = Image.open(io.BytesIO(saved(image, "PNG", exif=exif)))
    opened.load()
    return opened


@check
def paper_of(function: Answer) -> str:
    """The paper continues smoothly under the ink and at the page's edges, and is never darker."""
    blank = torch.full((1, 1, 40, 60), 200.0)
    written, folded = blank.clone(), blank.clone()
    written[:, :, 18:21, 10:50] = 40.0
    folded[:, :, :, 30:] = 120.0
    noise = torch.rand(1, 1, 31, 45, generator=torch.Generator().manual_seed(3)) * 255
    edges = "at its edges, count only what is on the page, no copies, mirror images or zeros"
    order = "first the brightest level within size x size px, then its mean within size x size px"
    for what, page, size, why in (
        ("a blank page", blank, 9, f"{edges} (look at avg_pool2d's count_include_pad)"),
        ("a page with a stroke", written, 9, "look for the brightest level before you average"),
        ("a page that is half dark", folded, 9, f"look around each pixel; {order}"),
        ("a page of noise", noise, 9, f"{order}; {edges}"),
        ("a page of noise", noise, 5, f"{order}; {edges}"),
        ("a page of noise", noise, 25, f"{order}; {edges}"),
        ("a page of noise", noise, None, "without a size given, look at 25 x 25 px"),
    ):
        side = size or 25
        wanted = F.max_pool2d(page, side, stride=1, padding=side // 2)
        wanted = F.avg_pool2d(wanted, side, 1, side // 2, count_include_pad=False)
        with saying(f"for {what}, with {size=}"):
            arguments = (page, size) if size else (page,)
            paper = expect_type(attempt(function, *arguments), Tensor, "paper_of")
            expect(
                paper.shape == page.shape,
                f"the paper has the shape {tuple(paper.shape)}, not {tuple(page.shape)}: move the "
                "window by one pixel (stride), and pad half of its size.",
            )
            off = float((paper - wanted).abs().max())
            expect(off < 0.01, f"the paper is off by up to {off:.1f} gray levels: {why}.")
    return "the paper's gray level is known, even under the ink."


@check
def lines_in_column(function: Answer) -> str:
    """Each hill that is high enough counts once, wherever it lies."""

    def returns(wanted: list[int], why: str, values: list[float], *least: float) -> None:
        given = f"in a column with {values if len(values) < 20 else 'random values'}"
        if least:
            given += f" and least={least[0]:g}"
        expect_result(function, (torch.tensor(values), *least), wanted, why, given)

    hills = [0.0, 0.2, 0.9, 0.3, 0.0, 0.1, 0.3, 0.1, 0.0, 0.6, 0.8, 0.5, 0.0]
    returns([2, 10], "a row is a peak if no neighbour is higher, and if it reaches `least`", hills)
    flat = "of equal neighbours only the first one counts: `>` on one side and `>=` on the other"
    returns([2], flat, [0.0, 0.5, 0.8, 0.8, 0.8, 0.4, 0.0])
    edges = "the first and the last row may be peaks, too: outside the column everything is 0"
    returns([0, 5], edges, [0.9, 0.5, 0.0, 0.0, 0.5, 0.7])
    returns([], "nothing is a peak there", [0.0] * 8)
    returns([1], "a peak of exactly `least` counts", [0.0, 0.5, 0.0, 0.25], 0.5)
    returns([2, 6, 10], "compare with the argument, not with 0.4", hills, 0.2)
    generator = torch.Generator().manual_seed(5)
    for round_ in range(20):
        column = torch.rand(40, generator=generator)
        if round_ % 2:  # flat tops, and steps on a slope
            column = (column * 5).round() / 5
        values = [0.0, *column.tolist(), 0.0]
        least = column.new_tensor(0.4).item()
        wanted = [
            row
            for row in range(40)
            if values[row + 1] >= least and values[row] < values[row + 1] >= values[row + 2]
        ]
        returns(wanted, "compare each row with both neighbours", column.tolist())
    return "each line that a column crosses is counted once."


@check
def strip_grid(function: Answer) -> str:
    """The positions in px that the grid means are the path's, also beyond the page's edge."""
    even = torch.linspace(10, 90, 40)
    level, close = torch.full((40,), 30.0), torch.full((40,), 5.0)
    for name, x, y, page_size, height, reach in (
        ("level", even, level, (60, 100), 8, 12.0),
        ("waving", even, 30 + 10 * torch.sin(even / 12), (60, 100), 8, 12.0),
        ("level (5 px from the page's upper edge)", even, close, (60, 100), 8, 12.0),
        ("level (of points at uneven distances)", even**2 / 90, level, (60, 100), 8, 12.0),
        ("level (in a strip of five rows)", even, level, (75, 110), 5, 8.5),
    ):
        rows = reach * ((2 * torch.arange(height) + 1) / height - 1)
        path = torch.stack([x, y], dim=1)
        grid = expect_type(attempt(function, path, reach, height, page_size), Tensor, "strip_grid")
        expect(
            grid.shape == (1, height, 40, 2) and grid.is_floating_point(),
            f"for a path of 40 points and a height of {height}, the grid is {grid.dtype} of shape "
            f"{tuple(grid.shape)}, not a float of shape (1, {height}, 40, 2).",
        )
        found_x = (grid[0, :, :, 0] + 1) / 2 * page_size[1]
        found_y = (grid[0, :, :, 1] + 1) / 2 * page_size[0]
        off_x = float((found_x - x).abs().max())
        off_y = float((found_y - y - rows[:, None]).abs().max())
        expect(
            off_x < 0.02 and off_y < 0.02,
            f"along a {name} path, x is up to {off_x:.2f} px off and y up to {off_y:.2f}. The "
            "grid's last dimension is x, y; -1 is the left or upper edge of the page and 1 the "
            "other edge (not the centres of the outer pixels). Each row of the strip looks at its "
            "own centre, half a row below the row's upper edge.",
        )
    return "the strip follows the path, to a fraction of a pixel."


@check
def greedy_decode(function: Answer) -> str:
    """Repeats become one, blanks go, and the blank between two equal letters keeps both."""

    def returns(wanted: list[int], why: str, frames: list[int], *blank: int) -> None:
        said = f"blank {blank[0]}" if blank else "no blank given"
        expect_result(function, (frames, *blank), wanted, why, f"for the frames {frames}, {said}")

    returns([8, 9], "there are blanks around two letters: leave the blanks out", [0, 8, 0, 9, 0], 0)
    returns([8, 9], "a letter may last several frames: take it once", [8, 8, 8, 9, 9], 0)
    why = "a letter may come back later: compare with the frame before (the first has none before)"
    returns([8, 9, 8], why, [8, 9, 8], 0)
    why = "a blank between two equal letters keeps both: mind the order"
    returns([12, 12], why, [12, 12, 0, 12], 0)
    returns([], "a line of only blanks is empty", [0, 0, 0], 0)
    returns([], "a line without frames is empty", [], 0)
    returns([4, 4], "without a blank given, it is class 0", [0, 4, 4, 0, 4])
    argument = "compare with the argument: the blank is not always 0"
    returns([5, 0, 5], argument, [5, 5, 7, 0, 0, 7, 5], 7)
    returns([0, 5], argument, [0, 0, 5], 7)
    choose = random.Random(7)
    for _ in range(50):
        frames = [choose.choice([0, 0, 1, 2]) for _ in range(12)]
        pairs = zip([0, *frames], frames, strict=False)
        wanted = [now for before, now in pairs if now != before and now != 0]
        returns(wanted, "repeats count once, and blanks go", frames, 0)
    return "repeats are one letter, and a blank keeps double letters apart."


@check
def character_error_rate(function: Answer) -> str:
    """The fewest insertions, deletions and substitutions, over the label's length."""
    cases = [
        ("line", "line", 0.0, "equal texts have no error"),
        ("lime", "line", 0.25, "one character of four was replaced"),
        ("abcd", "ab", 1.0, "two edits: divide by the length of the label, not of another text"),
        ("abcdef", "ab", 2.0, "four edits for two characters: a rate may be above 1"),
        ("the lline", "the line", 1 / 8, "one character was inserted; what follows it is right"),
        ("he line", "the line", 1 / 8, "one character was left out; what follows it is right"),
        ("sitting", "kitten", 3 / 6, "two were replaced and one was inserted"),
        ("ab", "abcd", 0.5, "the last two characters were left out"),
        ("", "abc", 1.0, "all characters were left out"),
        ("Line", "line", 0.25, "upper and lower case differ"),
        ("a b", "a\nb", 1 / 3, "a newline is a character, too"),
        ("ab", "", 2.0, "if the label is empty, each extra character counts as one"),
        ("", "", 0.0, "there was nothing to read, and nothing was read"),
    ]
    choose = random.Random(11)
    for _ in range(60):
        reading, label = (
            "".join(choose.choice("ab ") for _ in range(choose.randint(1, 7))) for _ in range(2)
        )
        wanted = int(edit_distance(reading, label)) / len(label)
        cases.append((reading, label, wanted, "look for the fewest edits, of all three kinds"))
    label = "".join(choose.choice("ab \n") for _ in range(120))
    reading = label[1:60] + "c" + label[62:]
    wanted = int(edit_distance(reading, label)) / len(label)
    cases.append((reading, label, wanted, "a page has many characters"))
    for reading, label, wanted, why in cases:
        result = expect_type(attempt(function, reading, label), (float, int), function.name)
        expect(
            abs(result - wanted) < 1e-6,
            f"reading {short(reading)} for {short(label)} has the rate {result:.3f}, not "
            f"{wanted:.3f}: {why}.",
        )
    return "the rate is the fewest possible edits, divided by the label's length."
