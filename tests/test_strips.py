"""Strips: whatever way a line takes over the page, it comes out straight and in the middle."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from text_recognizer.models.strips import (
    MARGIN,
    MAX_STRIP_WIDTH,
    STRIDE,
    STRIP_HEIGHT,
    cut_strips,
    strip_widths,
)

HEIGHT, WIDTH = 400, 900
SMALLER = 4  # drawn so many times larger, then reduced: smooth edges


def draw_path(xs, ys, thick: float = 3.0) -> torch.Tensor:
    """Ink (1, 1, H, W) of a thin line along points in px."""
    image = Image.new("L", (WIDTH * SMALLER, HEIGHT * SMALLER))
    points = [(float(x) * SMALLER, float(y) * SMALLER) for x, y in zip(xs, ys, strict=True)]
    ImageDraw.Draw(image).line(points, fill=255, width=round(thick * SMALLER))
    pixels = np.asarray(image.reduce(SMALLER), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None, None]


def path_of(function, points: int = 64) -> torch.Tensor:
    x = torch.linspace(0, WIDTH, points)
    return torch.stack([x, function(x)], dim=1)[None]


def ink_rows(strip: torch.Tensor) -> torch.Tensor:
    """The mean row of the ink in each column of a strip (1, 48, W)."""
    ink = (1 - strip[0]) / 2
    assert (ink.sum(0) > 0.5).all(), "a column without ink"
    rows = torch.arange(STRIP_HEIGHT) + 0.5
    return (ink * rows[:, None]).sum(0) / ink.sum(0)


def wave(x):
    return 200 + 18 * torch.sin(x / 90)


def slant(x):
    return 120 + 0.15 * x


def cut(ink, path, start, end, above=25.0, below=25.0):
    """The strips and widths of one line along a path."""
    return cut_strips(ink, path, *(torch.tensor([one]) for one in (start, end, above, below)))


@pytest.mark.parametrize("way", [wave, slant], ids=["wave", "slant"])
def test_a_line_comes_out_straight_in_the_middle(way):
    x = torch.linspace(0, WIDTH, 600)
    strips, widths = cut(draw_path(x, way(x)), path_of(way), 50.0, 850.0)
    assert strips.shape == (1, 1, STRIP_HEIGHT, int(widths))
    rows = ink_rows(strips[0])
    assert (rows - STRIP_HEIGHT / 2).abs().max() < 1.5
    assert rows.std() < 0.7


def test_letters_of_a_slanting_line_stand_upright():
    """A bar across a slanting line becomes a column of the strip."""
    slope = 0.15
    across = torch.tensor([-slope, 1.0]) / (1 + slope**2) ** 0.5
    centre = torch.tensor([450.0, float(slant(torch.tensor(450.0)))])
    top, bottom = centre - 24 * across, centre + 24 * across
    ink = draw_path([top[0], bottom[0]], [top[1], bottom[1]])
    strips, _ = cut(ink, path_of(slant), 250.0, 650.0)
    dark = (1 - strips[0, 0]) / 2
    rows = dark[4:-4]
    columns = (rows * torch.arange(rows.size(1))).sum(1) / rows.sum(1)
    assert columns.std() < 0.7
    assert abs(float(columns.mean()) - rows.size(1) / 2) < 2


def test_widths_keep_the_letters_proportions_and_are_bounded():
    starts, ends = torch.tensor([0.0, 10.0]), torch.tensor([500.0, 110.0])
    above, below = torch.tensor([20.0, 30.0]), torch.tensor([20.0, 20.0])
    widths = strip_widths(starts, ends, above, below)
    exact = (ends - starts) * STRIP_HEIGHT / ((above + below) * MARGIN)
    assert widths.dtype == torch.int64
    assert (widths % STRIDE == 0).all()
    assert (widths >= exact).all() and (widths < exact + STRIDE).all()
    starts, ends, reach = torch.zeros(3), torch.tensor([1e6, 0.1, 0.0]), torch.full((3,), 10.0)
    assert strip_widths(starts, ends, reach, reach).tolist() == [MAX_STRIP_WIDTH, 16, 16]


def test_beyond_a_strips_own_width_all_is_paper():
    ink = torch.ones(1, 1, HEIGHT, WIDTH)
    paths = path_of(lambda x: 0 * x + 200).repeat(2, 1, 1)
    reach = torch.full((2,), 24.0)
    strips, widths = cut_strips(
        ink, paths, torch.tensor([100.0, 100.0]), torch.tensor([800.0, 300.0]), reach, reach
    )
    assert strips.size(3) == int(widths.max())
    short = int(widths[1])
    assert short < strips.size(3)
    assert (strips[1, :, :, short:] == 1).all()
    assert (strips[1, :, :, :short] < -0.99).all()


def test_thin_strokes_survive_on_pages_of_many_px(scale=3):
    """Sampled without making the page smaller first, most of a thin line would be lost."""
    image = Image.new("L", (WIDTH * scale, HEIGHT * scale))
    y = 200 * scale
    ImageDraw.Draw(image).line([(0, y), (WIDTH * scale, y)], fill=255, width=1)
    ink = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None, None]
    path = path_of(lambda x: 0 * x + 200) * scale
    strips, _ = cut(ink, path, 50.0 * scale, 850.0 * scale, 20.0 * scale, 20.0 * scale)
    mass = ((1 - strips[0, 0]) / 2).sum(0)  # px of ink in a column
    exact = STRIP_HEIGHT / (40 * scale * MARGIN)
    assert mass.mean() == pytest.approx(exact, rel=0.35)
    assert mass.std() < 0.3 * exact
