"""Normalized pages: the same ink whatever the paper, the light and the polarity."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from text_recognizer.models.normalization import normalize_page, overview_size


def as_page(pixels) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels, dtype=np.float32)).clamp(0, 255)[None, None]


def written_page(paper: int = 230, ink: int = 60) -> torch.Tensor:
    image = Image.new("L", (640, 400), paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(36)
    for line in range(6):
        draw.text((30, 20 + 60 * line), "handwriting goes here", fill=ink, font=font)
    return as_page(image)


def test_light_ink_on_dark_is_the_same_page():
    page = written_page()
    for ink, inverted in zip(normalize_page(page), normalize_page(255 - page), strict=True):
        torch.testing.assert_close(inverted, ink, atol=1e-4, rtol=0)


@pytest.mark.parametrize("contrast", [20, 240])
@pytest.mark.parametrize("size", [(200, 300), (1200, 1600)])
def test_dark_ink_is_ink_at_any_contrast_and_size(contrast, size):
    page = torch.nn.functional.interpolate(written_page(250, 250 - contrast), size=size)
    for ink in normalize_page(page):
        assert ink.mean() < 0.25, "turned around, most of the page would be ink"
    for ink in normalize_page(255 - page):
        assert ink.mean() < 0.25


def test_a_shadow_across_the_page_changes_little():
    page = written_page(220, 80)
    ink, _ = normalize_page(page)
    shadow = torch.linspace(20, -60, 640) + torch.linspace(0, -15, 400)[:, None]
    shaded, _ = normalize_page(page + shadow)
    assert (shaded - ink).abs().mean() < 0.02
    assert shaded[page == 220].mean() < 0.05


def test_a_blank_page_has_little_ink():
    for ink in normalize_page(torch.full((1, 1, 300, 500), 7.0)):
        assert ink.max() < 1e-3
    noise = torch.randn(1, 1, 400, 600, generator=torch.Generator().manual_seed(1))
    for polarity in (1, -1):
        _, overview = normalize_page((200 + polarity * 3 * noise).clamp(0, 255))
        assert overview.mean() < 0.2, "noise of 3 gray levels must not be brought to full ink"


@pytest.mark.parametrize(
    ("height", "width", "overview"),
    [
        (1280, 1024, (640, 512)),  # made to the area
        (100, 100, (150, 150)),  # never more than 1.5 times larger
        (3000, 512, (1152, 197)),  # a long page is made to its longer side
        (8, 8, (12, 12)),
        (10, 2000, (8, 1152)),
    ],
)
def test_overviews_of_odd_pages(height, width, overview):
    assert overview_size(height, width) == overview
    page = torch.randint(
        0, 256, (1, 1, height, width), generator=torch.Generator().manual_seed(1)
    ).to(torch.uint8)
    ink, small = normalize_page(page)
    assert ink.shape == page.shape
    assert small.shape[2:] == overview
    for one in (ink, small):
        assert torch.isfinite(one).all()
        assert one.min() >= 0 and one.max() <= 1
