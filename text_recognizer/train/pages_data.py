"""Batches of page overviews for the finder, with the ridges and the reach to predict."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from text_recognizer.models.line_finder import COLUMN, ROW
from text_recognizer.models.normalization import normalize_page
from text_recognizer.pages.generator import Page
from text_recognizer.train.made_data import MadeBatches

# px of writing: small writing looks the same in an overview, and costs half to make.
OVERVIEW_HEIGHTS = (18.0, 44.0)


@dataclass
class PageBatch:
    """ink (B, 1, H, W) in [0, 1]; sizes (B, 2) px of each overview; on the finder's grid
    (B, H/4, W/8): middle in [0, 1], above and below in rows, near (where these are known); inside
    (where the page is); lines: of each page, its paths (N, columns) in rows, first and last column
    (N, 2), heights (N,) in rows."""

    ink: Tensor
    sizes: Tensor
    middle: Tensor
    above: Tensor
    below: Tensor
    near: Tensor
    inside: Tensor
    lines: list[tuple[Tensor, Tensor, Tensor]]

    def to(self, device: torch.device | str) -> "PageBatch":
        names = [one.name for one in fields(self) if one.name != "lines"]
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        return PageBatch(**moved, lines=self.lines)


def finder_targets(
    page: Page, height: int, width: int
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """What the finder should say of a page whose overview is `height` x `width` px: the grids of a
    PageBatch, and its lines."""
    rows, columns = -(-height // ROW), -(-width // COLUMN)
    scale_x = width / page.image.shape[1]
    scale_y = height / page.image.shape[0]
    at = (np.arange(columns) + 0.5) * COLUMN / scale_x  # px of the page
    ys = np.arange(rows)[:, None] + 0.5
    names = ("middle", "above", "below", "near")
    grids = {name: np.zeros((rows, columns), dtype=np.float32) for name in names}
    grids["inside"] = np.ones((rows, columns), dtype=np.float32)
    paths, edges, heights = [], [], []
    for line in page.lines:
        path = np.interp(at, line.path[:, 0], line.path[:, 1]) * scale_y / ROW
        above, below = line.above * scale_y / ROW, line.below * scale_y / ROW
        distance = np.abs(ys - path[None])
        ridge = np.exp(-0.5 * (distance / max(0.13 * (above + below), 0.75)) ** 2)
        written = (at > line.start - COLUMN / scale_x / 2) & (at < line.end + COLUMN / scale_x / 2)
        grids["middle"] = np.maximum(grids["middle"], ridge * written[None])
        near = (distance < max(0.25 * (above + below), 0.75)) & written[None]
        grids["above"][near] = above
        grids["below"][near] = below
        grids["near"][near] = 1
        paths.append(path)
        inside = np.flatnonzero(written)
        edges.append([inside[0], inside[-1]] if len(inside) else [0, 0])
        heights.append(above + below)
    lines = (
        torch.tensor(np.stack(paths), dtype=torch.float32),
        torch.tensor(np.stack(edges)),
        torch.tensor(heights, dtype=torch.float32),
    )
    return {name: torch.from_numpy(values) for name, values in grids.items()}, lines


class PageBatches(MadeBatches):
    """Batches of pages, in groups of two."""

    groups = {"train": 2, "validation": 2}

    def make_group(self, group: int) -> list[PageBatch]:
        """The taller pages of the group, and the wider ones, so that both have little padding."""
        made = []
        for part in range(2 * self.size):
            page = self.generator.make([self.seed, group, part], heights=OVERVIEW_HEIGHTS)
            _, ink = normalize_page(torch.tensor(page.image)[None, None])
            made.append((ink, *finder_targets(page, ink.size(2), ink.size(3))))
        made.sort(key=lambda one: one[0].size(3) / one[0].size(2))
        return [collate(made[: self.size]), collate(made[self.size :])]


def collate(
    made: list[tuple[Tensor, dict[str, Tensor], tuple[Tensor, Tensor, Tensor]]],
) -> PageBatch:
    """One batch from (ink, grids, lines) of each page, padded with zeros."""
    sizes = torch.tensor([[ink.size(2), ink.size(3)] for ink, _, _ in made])
    rows, columns = (-(-int(sizes[:, 0].max()) // ROW)), (-(-int(sizes[:, 1].max()) // COLUMN))
    pages = torch.zeros(len(made), 1, rows * ROW, columns * COLUMN)
    grids = {name: torch.zeros(len(made), rows, columns) for name in made[0][1]}
    for index, (ink, own, _) in enumerate(made):
        pages[index, :, : ink.size(2), : ink.size(3)] = ink[0]
        for name, values in own.items():
            grids[name][index, : values.size(0), : values.size(1)] = values
    return PageBatch(pages, sizes, **grids, lines=[lines for _, _, lines in made])
