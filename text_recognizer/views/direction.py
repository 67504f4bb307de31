"""By which angle the lines of writing slant, from projection profiles.

Seen along the lines, ink and the gaps between lines alternate; seen in any other direction they
blur into each other. The direction is the one in which the profile changes most from row to row
(Postl, Detection of linear oblique structures and skew scan in digitized documents, ICPR 1986).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 3000  # of the ink that are looked at
COARSE = 2.0  # degrees
QUICK = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)  # degrees of a page that is upright
SURELY_LEVEL = 2.0  # times as sharp as seen in other directions: an upright page is
FINE = 0.25
LEAST_POINTS = 60


class Direction(NamedTuple):
    """`degrees` in (-90, 90], clockwise, by which the lines fall from level. `clear`: how much
    sharper the profile is than that of the lines' perpendicular; 1 says that nothing is known."""

    degrees: float
    clear: float
    level: float
    """How much sharper it is than the profile of the picture as it is."""


def direction(ink: Tensor) -> Direction:
    """The direction of the writing in an ink mask (h, w)."""
    ys, xs = torch.nonzero(ink, as_tuple=True)
    if len(xs) < LEAST_POINTS:
        return Direction(0.0, 1.0, 1.0)
    step = max(len(xs) // POINTS, 1)
    # Points anywhere in their px, or the grid itself would look sharp from 45 degrees.
    shift = torch.rand(2, len(xs[::step]), generator=torch.Generator().manual_seed(0))
    x = xs[::step] + shift[0] - ink.size(1) / 2
    y = ys[::step] + shift[1] - ink.size(0) / 2
    reach = int((ink.size(0) ** 2 + ink.size(1) ** 2) ** 0.5) + 3
    if (upright := _upright(x, y, reach)) is not None:
        return upright
    coarse = torch.arange(-90 + COARSE, 90 + COARSE / 2, COARSE)
    sharp = _sharpness(x, y, coarse, reach)
    best = int(sharp.argmax())
    fine = float(coarse[best]) + torch.arange(-COARSE, COARSE + FINE / 2, FINE)
    finer = _sharpness(x, y, fine, reach)
    degrees = float(fine[int(finer.argmax())])
    across = (coarse - degrees + 90) % 180 - 90
    beside = float(sharp[across.abs() > 80].max())
    level = float(sharp[coarse.abs() <= COARSE].max())
    most = float(sharp[best])
    return Direction(degrees, most / max(beside, 1e-9), most / max(level, 1e-9))


def _upright(x: Tensor, y: Tensor, reach: int) -> Direction | None:
    """The direction of a page that is surely upright, from few angles; else None."""
    others = torch.arange(-85.0, 95.0, 10.0)
    sharp = _sharpness(x, y, torch.cat([torch.tensor(QUICK), others]), reach)
    level, other = sharp[: len(QUICK)], sharp[len(QUICK) :]
    clear = float(level.max()) / max(float(other.max()), 1e-9)
    degrees = QUICK[int(level.argmax())]
    return Direction(degrees, clear, 1.0) if clear > SURELY_LEVEL and abs(degrees) < 3 else None


def _sharpness(x: Tensor, y: Tensor, degrees: Tensor, reach: int) -> Tensor:
    """How much the profiles across some angles (N,) change from row to row (N,)."""
    angle = torch.deg2rad(degrees)[:, None]
    rows = y * torch.cos(angle) - x * torch.sin(angle) + reach / 2
    bins = rows.long().clamp(0, reach - 1) + torch.arange(len(degrees))[:, None] * reach
    profile = torch.bincount(bins.flatten(), minlength=reach * len(degrees)).float()
    profile = profile.view(len(degrees), reach)
    # Smoothed, or the strokes of slanted letters would count as much as the gaps between lines.
    smooth = F.avg_pool1d(profile[:, None], 5, 1, 2)[:, 0]
    return (smooth[:, 6:] - smooth[:, :-6]).square().sum(1) / len(x)
