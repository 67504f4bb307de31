"""Finds a sheet of paper on a darker or busier ground, as four corners."""

import math

import torch
from torch import Tensor

from text_recognizer.views.geometry import Point
from text_recognizer.views.ink import Small, brightest, without_ink

DARKER = 0.8  # of the paper's light: the ground has less
SMALLEST = 0.004  # of the picture, what a sheet takes at least
LARGEST = 0.97
FILLED = 0.82  # of the four corners' area that is paper
BLANK = 0.72  # of a sheet, what has no ink at least
STROKE = 9  # px of the small picture: no stroke is wider
INSIDE = 3  # of the four edges that lie within the picture, or two that face each other
AT_EDGE = 0.02  # of the picture's side: nearer than that an edge is the picture's own


def find_paper(seen: Small) -> list[Point] | None:
    """The corners of the sheet, clockwise from the upper left, in px of the small picture; None
    if the picture shows no ground around it."""
    gray = 255 - seen.gray if seen.inverted else seen.gray
    paper = without_ink(gray, STROKE)
    threshold, dark = _two_classes(paper)
    brightest = float(paper.max())
    if dark > DARKER * brightest:
        return None
    room = brightest - threshold  # a desk may be half in the sun
    levels = [threshold + share * room for share in (0.0, 0.2, 0.4, 0.6)]
    best: tuple[float, list[Point]] | None = None
    for level in levels:
        for part, area in _parts(paper > level):
            corners = _sheet(part, area, paper)
            if corners is None or float((gray[part] > level).float().mean()) < BLANK:
                continue  # the latter are letters, lighter than what they stand on
            worth = area * (area / _area(corners)) ** 4
            if best is None or worth > best[0]:
                best = (worth, corners)
    return None if best is None else _drawn_in(_clockwise(best[1]))


def share_outside(ink: Tensor, corners: list[Point]) -> float:
    """Of an ink mask (h, w), the share that lies outside of a sheet's corners."""
    y = torch.arange(ink.size(0))[:, None] + 0.5
    x = torch.arange(ink.size(1)) + 0.5
    outside = torch.zeros_like(ink)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        outside |= (x1 - x0) * (y - y0) < (y1 - y0) * (x - x0)
    return float((ink & outside).sum()) / max(float(ink.sum()), 1.0)


def _sheet(part: Tensor, area: float, paper: Tensor) -> list[Point] | None:
    """The corners of a part of a picture (h, w) that may be a sheet, else None."""
    if not SMALLEST < area / part.numel() < LARGEST:
        return None
    around = brightest(part.float(), 11) > 0
    if float(paper[around & ~part].mean()) > DARKER * float(paper[part].mean()):
        return None
    hull = _hull(part)
    corners = _four_corners(hull)
    if corners is not None:
        corners = _fitted(_fitted(corners, hull), hull)
    if corners is None or area < FILLED * _area(corners) or not _within(corners, part):
        return None
    return corners


def _two_classes(gray: Tensor) -> tuple[float, float]:
    """The threshold that parts the grays best, and the mean gray below it (Otsu 1979)."""
    counts = torch.histc(gray, 64, 0, 256)
    centres = (torch.arange(64) + 0.5) * 4
    below, total = counts.cumsum(0), counts.sum()
    sums = (counts * centres).cumsum(0)
    dark = sums / below.clamp_min(1)
    bright = (sums[-1] - sums) / (total - below).clamp_min(1)
    at = int((below * (total - below) * (bright - dark).square())[:-1].argmax())
    return float(centres[at]) + 2, float(dark[at])


def _parts(mask: Tensor, most: int = 6) -> list[tuple[Tensor, float]]:
    """The largest connected parts of a mask (h, w) with their areas in px."""
    mask = -brightest(-mask.float(), 3)  # cuts thin bridges
    labels = torch.arange(1.0, mask.numel() + 1).view_as(mask) * mask
    for _ in range(2 * sum(mask.shape)):
        before = labels
        labels = brightest(labels, 3) * mask
        for axis in (0, 1):  # whole runs at once
            for _ in range(2):
                labels = _spread(labels, mask, axis).flip(axis)
                mask = mask.flip(axis)
        if torch.equal(before, labels):
            break
    values, counts = labels[labels > 0].unique(return_counts=True)
    order = counts.argsort(descending=True)[:most]
    return [(labels == values[one], float(counts[one])) for one in order]


def _spread(labels: Tensor, mask: Tensor, axis: int) -> Tensor:
    """The greatest label before each px within its run along an axis."""
    run = (mask == 0).float().cumsum(axis)
    most = float(labels.max()) + 1
    seen = (labels.double() + run.double() * most).cummax(axis).values - run.double() * most
    return seen.float().clamp_min(0) * mask


def _hull(part: Tensor) -> list[Point]:
    """The convex hull of a mask, clockwise on the screen (Andrew's monotone chain, 1979)."""
    points: list[Point] = []
    columns = torch.nonzero(part.any(0)).flatten().tolist()
    for x in columns:
        rows = torch.nonzero(part[:, x]).flatten()
        points += [(x, float(rows[0])), (x + 1, float(rows[0]))]
        points += [(x, float(rows[-1]) + 1), (x + 1, float(rows[-1]) + 1)]
    points = sorted(set(points))
    halves = []
    for ordered in (points, points[::-1]):
        half: list[Point] = []
        for point in ordered:
            while len(half) > 1 and _turn(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves.append(half[:-1])
    return halves[0] + halves[1]


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _four_corners(hull: list[Point]) -> list[Point] | None:
    """The hull with edges left out until four are left, each time the one that adds least area
    when its neighbours are drawn on until they meet."""
    hull = list(hull)
    while len(hull) > 4:
        best: tuple[float, int, Point] | None = None
        for i in range(len(hull)):
            a, b = hull[i - 1], hull[i]
            c, d = hull[(i + 1) % len(hull)], hull[(i + 2) % len(hull)]
            meet = _meeting(a, b, d, c)
            if meet is not None:
                added = abs(_turn(b, meet, c)) / 2
                if best is None or added < best[0]:
                    best = (added, i, meet)
        if best is None:
            return None
        _, i, meet = best
        hull[i] = meet
        hull.pop((i + 1) % len(hull))
    return hull if len(hull) == 4 else None


def _fitted(corners: list[Point], hull: list[Point]) -> list[Point]:
    """The corners where the straight lines meet that fit the hull best, each side by the points
    that are nearest to it (total least squares)."""
    points = []
    for (x0, y0), (x1, y1) in zip(hull, hull[1:] + hull[:1], strict=True):
        steps = max(int(math.dist((x0, y0), (x1, y1))), 1)
        points += [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps)]
    outline = torch.tensor(points, dtype=torch.float64)
    ends = torch.tensor(corners, dtype=torch.float64)
    along = ends.roll(-1, 0) - ends
    length = along.norm(dim=1).clamp_min(1e-6)
    along = along / length[:, None]
    apart = outline[:, None] - ends  # (points, sides, 2)
    at = (apart * along).sum(2) / length
    off = (apart[:, :, 0] * along[:, 1] - apart[:, :, 1] * along[:, 0]).abs()
    off = off + (at - at.clamp(0, 1)).abs() * length
    nearest = off.argmin(1)
    lines = []
    for side in range(4):
        own = outline[(nearest == side) & (at[:, side] > 0.08) & (at[:, side] < 0.92)]
        if len(own) < 6:
            return corners
        middle = own.mean(0)
        lines.append((middle, torch.linalg.svd(own - middle, full_matrices=False).Vh[0]))
    fitted = []
    for (a, d), (b, e) in zip(lines[-1:] + lines[:-1], lines, strict=True):
        across = float(d[0] * e[1] - d[1] * e[0])
        if abs(across) < 0.2:
            return corners
        share = float((b[0] - a[0]) * e[1] - (b[1] - a[1]) * e[0]) / across
        fitted.append((float(a[0] + share * d[0]), float(a[1] + share * d[1])))
    return fitted


def _meeting(a: Point, b: Point, c: Point, d: Point) -> Point | None:
    """Where the rays from a through b and from c through d meet, beyond b and d."""
    bx, by, dx, dy = b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]
    across = bx * dy - by * dx
    if abs(across) < 1e-9:
        return None
    first = ((c[0] - a[0]) * dy - (c[1] - a[1]) * dx) / across
    second = ((c[0] - a[0]) * by - (c[1] - a[1]) * bx) / across
    if first < 1 - 1e-6 or second < 1 - 1e-6:
        return None
    return a[0] + first * bx, a[1] + first * by


def _area(corners: list[Point]) -> float:
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def _within(corners: list[Point], part: Tensor) -> bool:
    """Whether enough edges lie within the picture: what ends at its border on three sides is a
    part of a page that has more light, and no sheet."""
    height, width = part.shape
    near_x, near_y = AT_EDGE * width, AT_EDGE * height
    inside = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        beyond = (
            max(x0, x1) < near_x
            or min(x0, x1) > width - near_x
            or max(y0, y1) < near_y
            or min(y0, y1) > height - near_y
        )
        inside.append(not beyond)
    facing = (inside[0] and inside[2]) or (inside[1] and inside[3])
    return sum(inside) >= INSIDE or (sum(inside) == 2 and facing)


def _clockwise(corners: list[Point]) -> list[Point]:
    """Corners clockwise from the upper left one."""
    x = sum(corner[0] for corner in corners) / 4
    y = sum(corner[1] for corner in corners) / 4
    around = sorted(corners, key=lambda one: math.atan2(one[1] - y, one[0] - x))
    first = min(range(4), key=lambda place: around[place][0] + around[place][1])
    return around[first:] + around[:first]


def _drawn_in(corners: list[Point], by: float = 1.2) -> list[Point]:
    """The corners `by` px nearer to the middle, so that no edge of the ground shows."""
    x = sum(corner[0] for corner in corners) / 4
    y = sum(corner[1] for corner in corners) / 4
    return [(u + by * ((x > u) - (x < u)), v + by * ((y > v) - (y < v))) for u, v in corners]
