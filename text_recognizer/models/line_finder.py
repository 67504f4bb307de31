"""Finds the lines of writing on a page by predicting a density that can be counted and followed.

Every line has a mass of one in every column of the page, as a narrow bump at its height, also
where its writing has ended. The column sums count the lines; line k runs where a column's
cumulative sum passes k + 1/2. So slanting and wavy lines are followed and no line is read twice.
Counting by density is known from crowds (Lempitsky and Zisserman, NIPS 2010).
"""

from typing import Final, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# TorchScript reads `Optional[Tensor]` on every Python that it supports, `Tensor | None` not.
# ruff: noqa: UP006, UP035, UP045

ROW = 4  # px of the overview to one row of the grid
COLUMN = 8  # px of the overview to one column


class MaskedConv(nn.Module):
    """Convolution, batch norm, ReLU; beyond a page's own size the features stay zero."""

    def __init__(self, channels: int, out: int, stride: Tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, features: Tensor, inside: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(features))) * inside


class ContextLayer(nn.Module):
    """A residual convolution that looks `dilation` columns to either side, along the lines."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, 3, padding=(1, dilation), dilation=(1, dilation), bias=False
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor, inside: Tensor) -> Tensor:
        return features + F.relu(self.norm(self.conv(features))) * inside


class LineFinder(nn.Module):
    """Overviews of pages to what is written where, on a grid of 4 x 8 px cells.

    The context layers work on 8 x 8 px cells and together see the whole width of a page: a line
    that ends early is told by its neighbours how to go on. The fine rows come back at the end.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.row: Final[int] = ROW
        self.column: Final[int] = COLUMN
        self.to_half = MaskedConv(1, 16, (2, 2))
        self.to_quarter = MaskedConv(16, 32, (2, 2))
        self.to_eighth = MaskedConv(32, channels, (2, 2))
        self.context = nn.ModuleList(
            [ContextLayer(channels, d) for d in (1, 2, 4, 8, 16, 1, 2, 4, 8, 1)]
        )
        self.fine = nn.Conv2d(32, channels, 1)
        self.merge = MaskedConv(channels, channels, (1, 1))
        self.head = nn.Conv2d(channels, 4, 1)
        # Begin near what a page holds on average: a line in every eighth row, reaching 3 rows.
        nn.init.constant_(self.head.bias, -2.0)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(
        self, ink: Tensor, sizes: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Density, reach above and below (in rows), and logits of presence, each (B, H/4, W/8).

        ink: (B, 1, H, W) in [0, 1], H a multiple of 4 and W of 8. sizes: (B, 2) px of each
        overview; what lies beyond is not looked at. None: all are whole.
        """
        rows, columns = ink.size(2) // self.row, ink.size(3) // self.column
        whole = torch.ones([1, 1, 1, 1], device=ink.device)
        masks = [whole, whole, whole, whole]
        if sizes is not None:
            masks = [
                _inside(sizes, 2, 2, rows * 2, columns * 4),
                _inside(sizes, 4, 4, rows, columns * 2),
                _inside(sizes, 8, 8, (rows + 1) // 2, columns),
                _inside(sizes, self.row, self.column, rows, columns),
            ]
        ink = ink.contiguous(memory_format=torch.channels_last)
        quarter = self.to_quarter(self.to_half(ink, masks[0]), masks[1])
        features = self.to_eighth(quarter, masks[2])
        for layer in self.context:
            features = layer(features, masks[2])
        features = F.interpolate(features, scale_factor=[2.0, 1.0], mode="nearest")[:, :, :rows]
        features = features + self.fine(F.avg_pool2d(quarter, [1, 2]))
        out = self.head(self.merge(features * masks[3], masks[3])).float()
        density = F.softplus(out[:, 0]) * masks[3][:, 0]
        above, below = 8 * F.softplus(out[:, 1]), 8 * F.softplus(out[:, 2])
        return density, above, below, out[:, 3]


def _inside(sizes: Tensor, row: int, column: int, rows: int, columns: int) -> Tensor:
    """1 where a page is, 0 beyond it, (B, 1, rows, columns), for cells of row x column px."""
    device = sizes.device
    tall = (sizes[:, 0] + row - 1) // row
    wide = (sizes[:, 1] + column - 1) // column
    down = torch.arange(rows, device=device)[None] < tall[:, None]
    along = torch.arange(columns, device=device)[None] < wide[:, None]
    return (down[:, :, None] & along[:, None, :])[:, None].float()


def follow_lines(density: Tensor) -> Tensor:
    """Where the lines of one page run: (N, columns) in rows of the grid.

    density: (rows, columns).

    The number of lines is the median of the column sums, rounded. A column that disagrees is
    brought to that sum, so that every line runs through the whole page.
    """
    sums = density.sum(0)
    count = int(torch.round(sums.median()))
    if count < 1:
        return density.new_zeros([0, density.size(1)])
    cumulative = (density * (count / sums.clamp_min(1e-3))).cumsum(0)
    levels = torch.arange(count, device=density.device) + 0.5
    passed = cumulative[None] < levels[:, None, None]  # (N, rows, columns)
    row = passed.sum(1).clamp_max(density.size(0) - 1)  # the first row beyond the level
    after = cumulative.gather(0, row)
    before = torch.where(row > 0, cumulative.gather(0, (row - 1).clamp_min(0)), 0.0)
    share = (levels[:, None] - before) / (after - before).clamp_min(1e-6)
    return _smooth(row + share.clamp(0.0, 1.0), 7)


def _smooth(paths: Tensor, size: int) -> Tensor:
    """Moving mean of `size` columns along paths (N, columns), shorter at the ends."""
    return F.avg_pool1d(paths[:, None], size, 1, size // 2, count_include_pad=False)[:, 0]


def along_paths(grid: Tensor, paths: Tensor) -> Tensor:
    """What a grid (rows, columns) says along paths (N, columns), from the nearest cell."""
    return grid.gather(0, paths.long().clamp(0, grid.size(0) - 1))


def line_extents(presence: Tensor) -> List[Tuple[int, int]]:
    """First and last column of each line's writing, from its probability of presence (N, columns).

    (-1, -1) for a line without any.
    """
    extents: List[Tuple[int, int]] = []
    for line in range(presence.size(0)):
        written = torch.nonzero(presence[line] > 0.5)
        if written.numel() == 0:
            extents.append((-1, -1))
        else:
            extents.append((int(written[0]), int(written[-1])))
    return extents
