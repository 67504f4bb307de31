"""Follows the ridges that the finder draws, from column to column, and tells which make one line.

A ridge is joined to the line whose course it continues if each is the other's nearest; what breaks
off and goes on at the same height further right, like a date at the end of a line, is one line.
"""

from typing import List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

# TorchScript reads these spellings on every Python that it supports.
# ruff: noqa: UP006, UP035

LEAST = 0.4  # height of a ridge that counts
GAP = 12  # columns that a line may be lost for and found again
NEAR = 0.35  # of the writing's height: how far off its course a line may be found again
SHORTEST = 2  # columns of a line


def trace_lines(
    middle: Tensor,
    height: Tensor,
    least: float = LEAST,
    gap: int = GAP,
    near: float = NEAR,
    shortest: int = SHORTEST,
) -> Tuple[Tensor, Tensor]:
    """The lines of one page from top to bottom: paths (N, columns) in rows, and edges (N, 2) int64,
    the first and the last column of their writing. Beyond these a path goes on level.

    middle: (rows, columns) in [0, 1], the finder's ridges. height: (rows, columns), the writing's
    whole height in rows.
    """
    columns = middle.size(1)
    ys: List[List[float]] = []  # of each line, where it was seen
    xs: List[List[int]] = []
    tall: List[List[float]] = []
    # Numbers from here on: thousands of operators on single cells would keep a GPU waiting.
    column_of, at, own = _peaks(middle, height, least)
    first = 0
    while first < len(at):
        column = column_of[first]
        last = first + 1
        while last < len(at) and column_of[last] == column:
            last += 1
        active: List[int] = []
        course: List[float] = []
        for line in range(len(ys)):
            if column - xs[line][-1] <= gap:
                active.append(line)
                course.append(_continued(xs[line], ys[line], column))
        here = at[first:last]
        taken: List[int] = [-1] * len(here)
        if len(active) > 0:
            for peak in range(len(here)):
                line = _nearest(course, here[peak])
                off = abs(course[line] - here[peak])
                close = off < max(near * own[first + peak], 1.0)
                if close and _nearest(here, course[line]) == peak:
                    taken[peak] = active[line]
        for peak in range(len(here)):
            if taken[peak] < 0:
                taken[peak] = len(ys)
                new_ys: List[float] = []
                new_xs: List[int] = []
                new_tall: List[float] = []
                ys.append(new_ys)
                xs.append(new_xs)
                tall.append(new_tall)
            ys[taken[peak]].append(here[peak])
            xs[taken[peak]].append(column)
            tall[taken[peak]].append(own[first + peak])
        first = last
    return _joined(ys, xs, tall, columns, near, shortest)


def _peaks(
    middle: Tensor, height: Tensor, least: float
) -> Tuple[List[int], List[float], List[float]]:
    """Where ridges peak, column by column and downwards: the column, the row (between two rows,
    too), and the writing's height there in rows."""
    smooth = F.avg_pool2d(middle[None, None], [1, 3], 1, [0, 1], count_include_pad=False)[0, 0]
    padded = F.pad(smooth, [0, 0, 1, 1])
    up, down = padded[:-2], padded[2:]
    peak = (smooth >= least) & (smooth > up) & (smooth >= down)
    # The top of the parabola through three neighbours (as in sub-pixel corner refinement).
    shift = 0.5 * (up - down) / (up - 2 * smooth + down).clamp_max(-1e-6)
    places = torch.nonzero(peak.t())
    column, row = places[:, 0], places[:, 1]
    exact = row + 0.5 + shift[row, column].clamp(-0.5, 0.5)
    column_of: List[int] = column.tolist()
    at: List[float] = exact.tolist()
    own: List[float] = height[row, column].tolist()
    return column_of, at, own


def _nearest(values: List[float], value: float) -> int:
    """The place of the value that is nearest, the first of several."""
    best = 0
    for place in range(1, len(values)):
        if abs(values[place] - value) < abs(values[best] - value):
            best = place
    return best


def _continued(xs: List[int], ys: List[float], column: int) -> float:
    """Where a line that was seen at (xs, ys) should be in a column to the right, by its course
    over the last columns."""
    count = len(xs)
    back = min(count, 8)
    if back < 4:
        return ys[-1]
    slope = (ys[-1] - ys[count - back]) / (xs[-1] - xs[count - back])
    return ys[-1] + max(min(slope, 0.4), -0.4) * min(column - xs[-1], 4)


def _mean(values: List[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / max(len(values), 1)


def _joined(
    ys: List[List[float]],
    xs: List[List[int]],
    tall: List[List[float]],
    columns: int,
    near: float,
    shortest: int,
) -> Tuple[Tensor, Tensor]:
    """Pieces of one line put together, crumbs left out, the rest in reading order."""
    slope = _slope(ys, xs)
    gone: List[bool] = [len(x) < shortest for x in xs]
    _join_at_gaps(ys, xs, tall, gone, slope, near)
    _join_forks(ys, xs, tall, gone)
    order: List[float] = []
    kept: List[int] = []
    for line in range(len(xs)):
        if not gone[line]:
            kept.append(line)
            middle = 0.5 * (xs[line][0] + xs[line][-1])
            order.append(_mean(ys[line]) - slope * middle)
    paths = torch.zeros([len(kept), columns])
    edges = torch.zeros([len(kept), 2], dtype=torch.long)
    places = torch.tensor(order).argsort()
    for place in range(len(kept)):
        line = kept[int(places[place])]
        paths[place] = _filled(xs[line], ys[line], columns)
        edges[place, 0] = xs[line][0]
        edges[place, 1] = xs[line][-1]
    smooth = F.avg_pool1d(paths[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    return smooth, edges


def _slope(ys: List[List[float]], xs: List[List[int]]) -> float:
    """Of the page, in rows a column."""
    slopes: List[float] = []
    for line in range(len(xs)):
        if len(xs[line]) >= 8:
            span = float(xs[line][-1] - xs[line][0])
            slopes.append((ys[line][-1] - ys[line][0]) / span)
    return float(torch.tensor(slopes).median()) if len(slopes) > 0 else 0.0


def _join_at_gaps(
    ys: List[List[float]],
    xs: List[List[int]],
    tall: List[List[float]],
    gone: List[bool],
    slope: float,
    near: float,
) -> None:
    """Appends to each piece those that go on where it ends, the nearest first."""
    for left in range(len(xs)):
        again = True
        while again and not gone[left]:
            again = False
            best, nearest = -1, 0.0
            usual = _mean(tall[left])
            end = xs[left][-1]
            for right in range(len(xs)):
                apart = float(xs[right][0] - end)
                # Two pieces of a line may run beside each other for less than a letter.
                most = 0.5 * min(usual, float(end - xs[left][0]), float(xs[right][-1] - end))
                if right != left and not gone[right] and apart > -most:
                    off = abs(ys[right][0] - ys[left][-1] - slope * apart)
                    if off < near * usual and (best < 0 or apart < nearest):
                        best, nearest = right, apart
            if best >= 0:
                more = 0
                while xs[best][more] <= end:
                    more += 1
                ys[left].extend(ys[best][more:])
                xs[left].extend(xs[best][more:])
                tall[left].extend(tall[best][more:])
                gone[best] = True
                again = True


def _join_forks(
    ys: List[List[float]], xs: List[List[int]], tall: List[List[float]], gone: List[bool]
) -> None:
    """Of pieces that run beside each other, leaves the longest with the ends of the others."""
    lengths = torch.tensor([len(x) for x in xs], dtype=torch.long)
    shortest_first: List[int] = lengths.argsort().tolist()
    for line in shortest_first:
        if not gone[line]:
            longer = _beside_longer(line, ys, xs, tall, gone)
            if longer >= 0:
                _put_around(ys[longer], xs[longer], tall[longer], ys[line], xs[line], tall[line])
                gone[line] = True


def _beside_longer(
    line: int,
    ys: List[List[float]],
    xs: List[List[int]],
    tall: List[List[float]],
    gone: List[bool],
) -> int:
    """The longer line that a line runs beside, within half the writing's height: a stray stroke,
    or a ridge that forks. -1 if there is none."""
    for other in range(len(xs)):
        longer = len(xs[other]) > len(xs[line])
        if other != line and not gone[other] and longer:
            near, shared, place = 0, 0, 1
            for index in range(len(xs[line])):
                x = xs[line][index]
                while place < len(xs[other]) and xs[other][place] < x:
                    place += 1
                if place < len(xs[other]) and xs[other][place - 1] <= x:
                    shared += 1
                    left, right = xs[other][place - 1], xs[other][place]
                    share = (x - left) / (right - left)
                    y = ys[other][place - 1] * (1.0 - share) + ys[other][place] * share
                    half = 0.5 * max(tall[line][index], tall[other][place])
                    near += int(abs(ys[line][index] - y) < half)
            least = 0.5 * min(float(len(xs[line])), _mean(tall[line]))
            if shared > 0 and 2 * near > shared and shared >= least:
                return other
    return -1


def _put_around(
    ys: List[float],
    xs: List[int],
    tall: List[float],
    more_ys: List[float],
    more_xs: List[int],
    more_tall: List[float],
) -> None:
    """Adds to a line what another one has to its left and right."""
    first, last = xs[0], xs[-1]
    before = 0
    while before < len(more_xs) and more_xs[before] < first:
        xs.insert(before, more_xs[before])
        ys.insert(before, more_ys[before])
        tall.insert(before, more_tall[before])
        before += 1
    for place in range(before, len(more_xs)):
        if more_xs[place] > last:
            xs.append(more_xs[place])
            ys.append(more_ys[place])
            tall.append(more_tall[place])


def _filled(xs: List[int], ys: List[float], columns: int) -> Tensor:
    """A path through (xs, ys) for every column (columns,): straight between, level beyond."""
    x = torch.tensor(xs)
    y = torch.tensor(ys)
    at = torch.arange(columns).clamp(xs[0], xs[-1])
    right = torch.searchsorted(x, at).clamp_min(1).clamp_max(max(x.size(0) - 1, 1))
    left = right - 1
    if x.size(0) == 1:
        return y.expand(columns)
    share = (at - x[left]) / (x[right] - x[left])
    return y[left] + (y[right] - y[left]) * share


def along_paths(grid: Tensor, paths: Tensor) -> Tensor:
    """What a grid (rows, columns) says along paths (N, columns), from the nearest cell."""
    return grid.gather(0, paths.long().clamp(0, grid.size(0) - 1))
