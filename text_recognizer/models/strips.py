"""Cuts lines out of a page: along each line's path, straightened, 48 px high, as the reader wants.

Sampling with `grid_sample` is differentiable and costs the same for a straight line and a wavy one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# TorchScript sees no module constants: they reach the functions as defaults.
STRIP_HEIGHT = 48  # px
STRIDE = 8  # px of width to one frame of the reader
MAX_STRIP_WIDTH = 3200  # px: over 300 letters; what is longer is squeezed
MARGIN = 1.23  # of the writing's height, above and below


def strip_widths(
    starts: Tensor,
    ends: Tensor,
    above: Tensor,
    below: Tensor,
    height: int = STRIP_HEIGHT,
    stride: int = STRIDE,
    most: int = MAX_STRIP_WIDTH,
    margin: float = MARGIN,
) -> Tensor:
    """Widths (N,) int64 in px of the strips of lines, rounded up to the reader's stride."""
    widths = (ends - starts) * height / ((above + below) * margin)
    return torch.ceil(widths / stride).long().clamp(2, most // stride) * stride


def no_larger_than_strips(
    ink: Tensor,
    above: Tensor,
    below: Tensor,
    height: int = STRIP_HEIGHT,
    margin: float = MARGIN,
) -> Tensor:
    """The ink (1, 1, H, W) of a page, made smaller where its lines have many more px than their
    strips: thin strokes would vanish between the px that a strip takes. above, below: (N,) px."""
    shrink = float(height / ((above + below) * margin).median())
    if shrink >= 0.75:
        return ink
    size = [max(int(ink.size(2) * shrink), 1), max(int(ink.size(3) * shrink), 1)]
    return F.interpolate(ink, size=size, mode="bilinear", antialias=True)


def cut_strips(
    ink: Tensor,
    paths: Tensor,
    starts: Tensor,
    ends: Tensor,
    above: Tensor,
    below: Tensor,
    height: int = STRIP_HEIGHT,
    margin: float = MARGIN,
    which: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Strips (N, 1, 48, W) in [-1, 1], dark ink on white, and their own widths (N,) int64, px.

    ink: one page's (1, 1, H, W) in [0, 1]. paths: (N, P, 2) x, y in px, x at equal distances from
    the first point to the last. starts, ends: (N,) x in px. above, below: (N,) px, how far the
    writing reaches from its path. W is the widest strip; beyond a strip's own width all is white.
    The strips are on the ink's device, their widths on that of the lines. which: (M,) int64; only
    these lines are cut, just as they would be with all others.
    """
    widths = strip_widths(starts, ends, above, below, margin=margin)
    widest = int(widths.max())
    small = no_larger_than_strips(ink, above, below, margin=margin)
    to_x, to_y = 2 / ink.size(3), 2 / ink.size(2)  # the whole page is 2 wide and high to the grid
    if which is not None:
        paths, starts, ends, widths = paths[which], starts[which], ends[which], widths[which]
        above, below = above[which], below[which]
    count, device = widths.size(0), ink.device
    own = widths
    paths, starts, ends, own = paths.to(device), starts.to(device), ends.to(device), own.to(device)
    above, below = above.to(device), below.to(device)
    step = (ends - starts) / own  # px of the page to one px of the strip
    x = starts[:, None] + (torch.arange(widest, device=device) + 0.5) * step[:, None]  # (N, W)
    first, last = paths[:, :1, 0], paths[:, -1:, 0]
    points = paths.size(1)
    position = ((x - first) / (last - first) * (points - 1)).clamp(0.0, points - 1.001)
    left = position.floor().long()
    ys = paths[:, :, 1]
    y_left, y_right = ys.gather(1, left), ys.gather(1, left + 1)
    y = y_left + (y_right - y_left) * (position - left)
    slope = (y_right - y_left) * (points - 1) / (last - first)
    slope = F.avg_pool1d(slope[:, None], 33, 1, 16, count_include_pad=False)[:, 0]
    length = torch.sqrt(1 + slope * slope)
    # Rows lie across the path, so a slanting line comes out level and its letters upright.
    rows = (torch.arange(height, device=device) + 0.5) / height  # (48,)
    offset = margin * (rows * (above + below)[:, None] - above[:, None])  # (N, 48) px
    grid_x = x[:, None] - offset[:, :, None] * (slope / length)[:, None]  # (N, 48, W)
    grid_y = y[:, None] + offset[:, :, None] / length[:, None]
    grid = torch.stack([grid_x * to_x - 1, grid_y * to_y - 1], dim=3)
    flat = grid.view(1, count * height, widest, 2)
    strips = F.grid_sample(small, flat, mode="bilinear", padding_mode="zeros", align_corners=False)
    strips = 1 - 2 * strips.view(count, 1, height, widest)
    beyond = torch.arange(widest, device=device)[None] >= own[:, None]
    return strips.masked_fill(beyond[:, None, None], 1.0), widths
