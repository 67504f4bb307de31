"""Predicts where the lines of writing run on a page, and how far the writing reaches from them.

The network draws every line's middle as a ridge, 1 along the middle of the small letters and
falling off to 0 well before the next line, from where the writing begins to where it ends.
`line_tracing` follows the ridges. So slanting and wavy lines are followed, and lines may be short.

A density that has a mass of one for every line in every column, also where its writing has ended,
can be counted by summing (Lempitsky and Zisserman, NIPS 2010). It was tried first: it learned to
count whole lines quickly and how short ones go on slowly, and one wrong count spoils a page.
"""

from typing import Final, Optional, Tuple

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
    """A residual convolution that looks some rows up and down and more columns left and right."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, 3, padding=(rows, columns), dilation=(rows, columns), bias=False
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor, inside: Tensor) -> Tensor:
        return features + F.relu(self.norm(self.conv(features))) * inside


class LineFinder(nn.Module):
    """Overviews of pages to what is written where, on a grid of 4 x 8 px cells.

    The context layers work on 8 x 8 px cells; the fine rows come back at the end.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.row: Final[int] = ROW
        self.column: Final[int] = COLUMN
        self.to_half = MaskedConv(1, 16, (2, 2))
        self.to_quarter = MaskedConv(16, 32, (2, 2))
        self.to_eighth = MaskedConv(32, channels, (2, 2))
        # Rows: 39 of 8 px, for a large hand. Columns: 95, for the lines' course over the page.
        looks = [(1, 1), (1, 2), (2, 4), (2, 8), (4, 16), (1, 1), (1, 2), (2, 4), (4, 8), (1, 1)]
        self.context = nn.ModuleList([ContextLayer(channels, *look) for look in looks])
        self.fine = nn.Conv2d(32, channels, 1)
        self.merge = MaskedConv(channels, channels, (1, 1))
        self.head = nn.Conv2d(channels, 3, 1)
        nn.init.constant_(self.head.bias, -1.0)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, ink: Tensor, sizes: Optional[Tensor] = None) -> Tuple[Tensor, Tensor, Tensor]:
        """Logits of the lines' middles, reach above and below in rows, each (B, H/4, W/8).

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
        return out[:, 0], 8 * F.softplus(out[:, 1]), 8 * F.softplus(out[:, 2])


def _inside(sizes: Tensor, row: int, column: int, rows: int, columns: int) -> Tensor:
    """1 where a page is, 0 beyond it, (B, 1, rows, columns), for cells of row x column px."""
    device = sizes.device
    tall = (sizes[:, 0] + row - 1) // row
    wide = (sizes[:, 1] + column - 1) // column
    down = torch.arange(rows, device=device)[None] < tall[:, None]
    along = torch.arange(columns, device=device)[None] < wide[:, None]
    return (down[:, :, None] & along[:, None, :])[:, None].float()
