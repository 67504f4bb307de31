"""Which parts of an upright page are read one after another: columns, what stands above and below
them, and pieces of pages that are too tall to be looked at whole.

White gutters cut a page into columns, white rows into what lies above each other, as in the XY cut
(Nagy and Seth, Hierarchical representation of optically scanned documents, ICPR 1984).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from text_recognizer.views.ink import Box, Small

MARGIN = 0.04  # of the writing's longer side, left around it
GUTTER = 0.55  # of the distance between lines, how wide the gap between columns is at least
WIDER = 1.25  # times the wide gaps between words
NARROWEST = 0.18  # of the width of the writing, what each column takes
COLUMN_LINES = 3  # of each column at least
VALLEY = 2.0  # of the distance between rows: a gap so wide parts columns whose rows can't be cut
TALLEST = 2.2  # times its width: what is taller is read in pieces
PIECE = 1.6  # times the width, how tall these are about
MOST_LINES = 34  # of a piece; more are too small in the finder's overview


def find_blocks(seen: Small) -> list[Box]:
    """The parts of a small page in reading order; none of one without writing."""
    ink, box = seen.writing, seen.box
    if box is None:
        return []
    boxes = _columns(ink, box)
    pieces: list[Box] = []
    for block, one in enumerate(boxes):
        pieces += [piece._replace(block=block) for piece in _pieces(ink, one)]
    return [_with_margin(piece, box, ink.shape[1], ink.shape[0]) for piece in pieces]


def _with_margin(piece: Box, box: Box, width: int, height: int) -> Box:
    """A piece with some paper around it, but nothing of its neighbours in the box of all."""
    room = max(round(MARGIN * max(box.right - box.left, box.bottom - box.top)), 2)
    return Box(
        piece.left if piece.left > box.left else max(piece.left - room, 0),
        piece.top if piece.top > box.top else max(piece.top - room, 0),
        piece.right if piece.right < box.right else min(piece.right + room, width),
        piece.bottom if piece.bottom < box.bottom else min(piece.bottom + room, height),
        piece.block,
    )


def count_lines(ink: Tensor) -> int:
    """About how many lines an upright ink mask (h, w) has one below the other."""
    return len(_humps(ink.float().sum(1)))


def _humps(profile: Tensor) -> list[tuple[int, int]]:
    """Where a profile (n,) stays above a part of what is usual: (first, last + 1)."""
    if float(profile.max()) <= 0:
        return []
    smooth = F.avg_pool1d(profile[None, None], 3, 1, 1)[0, 0]
    usual = float(smooth[smooth > 0].quantile(0.9))
    return _gaps(smooth > 0.3 * usual)


def _columns(ink: Tensor, box: Box) -> list[Box]:
    """The columns of a box with what stands above and below them; else the box itself."""
    part = ink[box.top : box.bottom, box.left : box.right]
    lines = _humps(part.float().sum(1))
    total = part.shape[0]
    cuts = [0] + [(a[1] + b[0]) // 2 for a, b in zip(lines, lines[1:], strict=False)] + [total]
    most = len(cuts) - 1
    bands = [(0, most), (1, most), (2, most), (0, most - 1), (1, most - 1), (3, most)]
    for first, last in bands:
        if last <= first:
            continue
        top, bottom = cuts[first], cuts[last]
        edges = _gutters(part[top:bottom], [at - top for at in cuts[first : last + 1]])
        if not edges and bottom - top > total / 2:
            edges = _valleys(part[top:bottom], COLUMN_LINES if last - first < most else 2)
        if not edges:
            continue
        found = [box._replace(bottom=box.top + top)] if first else []
        sides = [0, *edges, part.shape[1]]
        for left, right in zip(sides, sides[1:], strict=False):
            found.append(Box(box.left + left, box.top + top, box.left + right, box.top + bottom))
        return found + ([box._replace(top=box.top + bottom)] if last < most else [])
    return [box]


def _valleys(part: Tensor, least: int) -> list[int]:
    """The middles of gaps between columns of `least` rows in a part of an ink mask (h, w), whose
    rows slant or are crowded so that they can't be cut: wider than any between words."""
    height, width = part.shape
    room = NARROWEST * width
    gaps = [(a, b) for a, b in _white(part) if a >= room and b <= width - room]
    if not gaps:
        return []
    wide = VALLEY * height / max(_rows(part), 1)
    edges: list[int] = []
    for start, end in gaps:
        left = edges[-1] if edges else 0
        if end - start < wide or start - left < room:
            continue
        sides = part[:, left:start], part[:, end:]
        rows = min(map(_rows, sides))
        if rows < least or not all(map(_is_filled, sides)):
            continue
        if rows >= COLUMN_LINES or not _in_turn(*sides):
            edges.append((start + end) // 2)
    return edges


def _in_turn(left: Tensor, right: Tensor) -> bool:
    """Whether each row of the shorter one of two parts lies between rows of the other, as the
    sender of a letter and its signature do: then these are lines of one column."""
    rows, others = sorted((_humps(side.float().sum(1)) for side in (left, right)), key=len)
    middles = [(first + last) / 2 for first, last in rows]
    return not any(first <= middle < last for first, last in others for middle in middles)


def _rows(part: Tensor) -> int:
    """About how many rows a part of an ink mask has in most places: where they slant, they run into
    each other across all of it, but not in narrow strips. There, a large letter looks like two."""
    strips = max(_rows_in_strips(part, max(part.shape[0] // share, 4)) for share in (2, 6))
    level = count_lines(part)
    return max(level, strips) if strips >= COLUMN_LINES else level


def _rows_in_strips(part: Tensor, size: int) -> int:
    """`count_lines` of the middle one of the strips of `size` px in an ink mask (h, w)."""
    strips = F.pad(part.float(), [0, -part.shape[1] % size]).unflatten(1, (-1, size)).sum(2).T
    strips = strips[strips.any(1)]
    if not len(strips):
        return 0
    smooth = F.avg_pool1d(strips[:, None], 3, 1, 1)[:, 0]
    usual = smooth.where(smooth > 0, torch.nan).nanquantile(0.9, dim=1, keepdim=True)
    counts = (F.pad((smooth > 0.3 * usual).int(), [1, 1]).diff() > 0).sum(1)
    return int(counts.sort().values[len(counts) // 2])


def _gutters(part: Tensor, cuts: list[int]) -> list[int]:
    """The middles of the gaps between columns in a part of an ink mask (h, w). cuts: the rows
    between its lines."""
    count = len(cuts) - 1
    if count < COLUMN_LINES:
        return []
    pitch = part.shape[0] / count
    least = NARROWEST * part.shape[1]
    edges: list[int] = []
    for start, end in _white(part):
        left = edges[-1] if edges else 0
        if end - start < max(GUTTER * pitch, 3) or start - left < least:
            continue
        if part.shape[1] - end < least:
            continue
        sides = part[:, left:start], part[:, end:]
        if all(_is_column(side) for side in sides) and _is_wide(end - start, sides, cuts):
            edges.append((start + end) // 2)
    return edges


def _white(part: Tensor) -> list[tuple[int, int]]:
    """The columns of px of an ink mask (h, w) that have next to no ink, as `_gaps` has them."""
    return _gaps(part.float().mean(0) <= 0.004)


def _gaps(empty: Tensor) -> list[tuple[int, int]]:
    """The runs of a mask (n,): (first, last + 1)."""
    steps = F.pad(empty.int(), [1, 1]).diff()
    starts = torch.nonzero(steps > 0).flatten().tolist()
    ends = torch.nonzero(steps < 0).flatten().tolist()
    return list(zip(starts, ends, strict=True))


def _is_wide(gutter: int, sides: tuple[Tensor, ...], cuts: list[int]) -> bool:
    """Whether a gap is wider than those between words: these may lie above each other by chance."""
    words: list[int] = []
    for side in sides:
        for top, bottom in zip(cuts, cuts[1:], strict=False):
            empty = ~side[top:bottom].any(0)
            gaps = _gaps(empty)
            inner = [b - a for a, b in gaps if a > 0 and b < side.shape[1] and b - a > 1]
            words += inner
    if len(words) < 4:
        return True
    return gutter > WIDER * sorted(words)[int(0.9 * len(words))]


def _is_column(part: Tensor) -> bool:
    return count_lines(part) >= COLUMN_LINES and _is_filled(part)


def _is_filled(part: Tensor) -> bool:
    """Whether there is ink in enough of the height of an ink mask (h, w)."""
    return float(part.any(1).float().mean()) > 0.3


def _pieces(ink: Tensor, box: Box) -> list[Box]:
    """A box in pieces that are not too tall, cut between lines."""
    part = ink[box.top : box.bottom, box.left : box.right]
    height, width = part.shape
    profile = part.float().sum(1)
    count = max(
        round(height / (PIECE * width)) if height > TALLEST * width else 1,
        -(-len(_humps(profile)) // MOST_LINES),
    )
    if count < 2:
        return [box]
    smooth = F.avg_pool1d(profile[None, None], 3, 1, 1)[0, 0]
    cuts = [0]
    for number in range(1, count):
        around = height * number // count
        reach = max(height // count // 4, 1)
        first, last = max(around - reach, cuts[-1] + 1), min(around + reach, height - 1)
        if last <= first:
            continue
        # Of all white rows the middle of the widest gap, or the row with the least ink.
        window = smooth[first:last]
        lowest = torch.nonzero(window <= window.min() + 1e-6).flatten()
        cuts.append(first + int(lowest[len(lowest) // 2]))
    cuts.append(height)
    return [
        box._replace(top=box.top + top, bottom=box.top + bottom)
        for top, bottom in zip(cuts, cuts[1:], strict=False)
    ]
