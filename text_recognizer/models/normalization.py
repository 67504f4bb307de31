"""Makes every page look alike before any network sees it: ink 1, paper 0, whatever the light.

Pencil on gray paper, chalk on a board and a phone's shadow differ less afterwards than two pens.
"""

import math
from typing import Tuple

import torch.nn.functional as F
from torch import Tensor

# ruff: noqa: UP006, UP035
# TorchScript sees no module constants: they reach the functions as defaults.
OVERVIEW_AREA = 512 * 640  # px: the finder's view of a page, of whatever shape
OVERVIEW_SIDE = 1152  # px at most
MAX_ENLARGEMENT = 1.5
FAINTEST_INK = 28.0  # gray levels: full ink differs so much from paper at least, or it is noise


def overview_size(
    height: int,
    width: int,
    area: int = OVERVIEW_AREA,
    side: int = OVERVIEW_SIDE,
    enlargement: float = MAX_ENLARGEMENT,
) -> Tuple[int, int]:
    """Height and width (px) of the overview of a page of that size."""
    scale = min(math.sqrt(area / (height * width)), min(side / max(height, width), enlargement))
    return max(int(height * scale + 0.5), 8), max(int(width * scale + 0.5), 8)


def normalize_page(page: Tensor, faintest: float = FAINTEST_INK) -> Tuple[Tensor, Tensor]:
    """The ink of one page (1, 1, H, W), gray 0 to 255: the page's own, and its overview's.

    Returns ink (1, 1, H, W) and (1, 1, h, w) in [0, 1], (h, w) from `overview_size`. The paper is
    the brightest of a neighbourhood, smoothed; what is darker is ink. A page whose gray levels
    lean to the bright side is light ink on dark, and is turned around first.
    """
    page = page.float()
    height, width = overview_size(page.size(2), page.size(3))
    small = F.interpolate(page, size=[height, width], mode="bilinear", antialias=True)
    deviation = small - _smooth(small, 31)
    if bool((deviation**3).mean() > 0):
        page, small = 255.0 - page, 255.0 - small
    paper = _smooth(_brightest(_smooth(small, 3), 9), 31)
    ink = (paper - small).clamp_min(0.0)
    flat = ink.flatten()[::3]
    rank = int(flat.numel() * 0.985)
    strength = float(flat.kthvalue(max(rank, 1))[0]) * 1.3
    strength = max(strength, faintest)
    full_paper = F.interpolate(paper, size=[page.size(2), page.size(3)], mode="bilinear")
    return (
        ((full_paper - page) / strength).clamp(0.0, 1.0),
        (ink / strength).clamp(0.0, 1.0),
    )


def _smooth(page: Tensor, size: int) -> Tensor:
    """A box blur `size` px wide that leaves the edges as they are."""
    for _ in range(2):
        pixels = _columns_as_channels(page)
        blurred = F.avg_pool2d(pixels, [1, size], [1, 1], [0, size // 2], count_include_pad=False)
        page = blurred.permute(0, 2, 1, 3)
    return page


def _brightest(page: Tensor, size: int) -> Tensor:
    """The brightest of the neighbourhood, `size` px wide and high."""
    for _ in range(2):
        pixels = _columns_as_channels(page)
        page = F.max_pool2d(pixels, [1, size], [1, 1], [0, size // 2]).permute(0, 2, 1, 3)
    return page


def _columns_as_channels(page: Tensor) -> Tensor:
    """A page (1, 1, H, W) as (1, W, 1, H), so that pooling down the columns takes a whole row at a
    time: on a processor a tenth of the time that pooling a page as it is takes, for the same bits.

    `permute(0, 2, 1, 3)` of what was pooled is the page again, with rows and columns exchanged; the
    same once more goes along the rows and turns it back.
    """
    return page.contiguous().permute(0, 3, 1, 2)
