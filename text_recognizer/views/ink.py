"""A small picture's paper and ink, from which the other modules judge where writing is."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

AREA = 64_000  # px of a picture made small
LONGEST = 900  # px of its longer side
NARROWEST = 112  # px of a tall picture's width, whatever its height
FAINTEST = 0.07  # of the paper's light: what differs less is noise
RULE = 0.1  # of the longer side: the shortest of a rule's runs
SMALLEST_SHADED = 100  # px of a side: in less, a stroke is as large as a shadow
UNEVEN = 0.72  # of the brightest paper's light: shadows are darker than that
UNDEREXPOSED = 100  # gray: no more than one px in a thousand is brighter


class Box(NamedTuple):
    """A part of a page, px, right and bottom excluded; `block` numbers what is read in one go."""

    left: int
    top: int
    right: int
    bottom: int
    block: int = 0


@dataclass(frozen=True)
class Small:
    """A picture made small. `scale` px of the picture are one px of this one."""

    gray: Tensor
    """(h, w) in [0, 255], dark ink on light paper."""
    paper: Tensor
    """(h, w), the paper's gray without the ink."""
    ink: Tensor
    """(h, w) bool."""
    scale: float
    inverted: bool
    """Whether the picture is light ink on dark paper."""

    @cached_property
    def writing(self) -> Tensor:
        """(h, w) bool: its ink without the rules of the paper."""
        return without_rules(self.ink)

    @cached_property
    def box(self) -> Box | None:
        """Around its writing; None where there is none."""
        return writing_box(self.writing)


def small_size(width: int, height: int) -> tuple[int, int]:
    """The size of a picture of that size when made small."""
    share = min((AREA / (width * height)) ** 0.5, LONGEST / max(width, height))
    if height > width:  # or the lines of a tall page would run into each other
        share = max(share, NARROWEST / width)
    share = min(share, 1.0)
    return max(round(width * share), 1), max(round(height * share), 1)


def small(picture: Image.Image) -> Small:
    """A gray picture made small."""
    size = small_size(*picture.size)
    factor = picture.width // size[0]
    reduced = picture.reduce(factor) if factor > 1 else picture
    if reduced.size != size:
        reduced = reduced.resize(size, Image.Resampling.BILINEAR)
    scale = picture.width / size[0]
    gray = to_tensor(reduced)
    inverted = bool(((gray - _box(gray, 31)) ** 3).mean() > 0)
    if inverted:
        gray = 255 - gray
    paper = without_ink(gray, _closing_size(gray))
    contrast = (paper - gray).clamp_min(0) / paper.clamp_min(16)
    values = contrast.flatten()
    rank = max(int(values.numel() * 0.985), 1)
    strength = max(float(values.kthvalue(rank)[0]), 2 * FAINTEST)
    ink = contrast > max(0.45 * strength, FAINTEST)
    return Small(gray, paper, ink, scale, inverted)


def to_tensor(picture: Image.Image) -> Tensor:
    """A gray picture as (H, W) float32."""
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(picture.height, picture.width).float()


def to_picture(pixels: Tensor) -> Image.Image:
    """(H, W) in [0, 255] as a gray picture."""
    data = pixels.round().clamp(0, 255).to(torch.uint8).flatten()
    room = bytearray(data.numel())  # a tensor gives its bytes away only with NumPy
    torch.frombuffer(room, dtype=torch.uint8).copy_(data)
    return Image.frombytes("L", (pixels.size(1), pixels.size(0)), bytes(room))


def without_ink(gray: Tensor, size: int) -> Tensor:
    """The paper (h, w) below the ink: a closing by squares of `size` px (odd), which leaves the
    edges of shadows where they are (Serra, Image Analysis and Mathematical Morphology, 1982)."""
    # The picture goes on beyond its border, or a dark strip along it would count as ink.
    smooth = F.pad(_box(gray, 3)[None, None], [size] * 4, "replicate")[0, 0]
    closed = -brightest(-brightest(smooth, size), size)
    return closed[size:-size, size:-size]


def without_rules(ink: Tensor) -> Tensor:
    """An ink mask (h, w) without the lines of ruled and squared paper: runs so long that no
    letter has them."""
    length = min(max(int(max(ink.shape) * RULE), 24), min(ink.shape) - 1) // 2 * 2 + 1
    kept = ink
    for axis in (0, 1):
        mask = running_max(ink.float(), 3, 1 - axis)  # a rule may rise by a px
        rules = _runs(mask, length, axis)
        if bool(rules.any()):
            # A rule may have gaps of two px, but not everywhere, as a line of small writing has.
            gappy = _runs(running_max(mask, 3, axis), length, axis)
            thick = _box(gappy, 9) > 0.7
            kept = kept & ~((gappy > 0) & (brightest(rules, 5) > 0) & ~thick)
    return kept


def _runs(mask: Tensor, length: int, axis: int) -> Tensor:
    """What of a mask (h, w) of 0 and 1 lies in unbroken runs of so many px along an axis."""
    return running_max(-running_max(-mask, length, axis), length, axis)


def writing_box(ink: Tensor) -> Box | None:
    """Around all ink but single specks."""
    near = F.avg_pool2d(ink.float()[None, None], 5, 1, 2)[0, 0] * 25
    kept = ink & (near >= 4)
    if int(kept.sum()) < 8:
        return None
    rows = torch.nonzero(kept.any(1)).flatten()
    columns = torch.nonzero(kept.any(0)).flatten()
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def exposure(picture: Image.Image) -> list[int] | None:
    """The new value of each gray that makes a picture as bright as a page in good light, if all of
    it is dark; else None.

    A gray picture whose brightest px are bright, as the letters of a dark page, is not dark, and
    neither is one that shows nothing.
    """
    counts = picture.histogram()
    bright, most = 255, sum(counts) / 1000
    while (most := most - counts[bright]) > 0:
        bright -= 1
    darkest, _ = picture.getextrema()
    if bright >= UNDEREXPOSED or bright - darkest <= FAINTEST * bright:
        return None
    return [min(round(gray * 230 / bright), 255) for gray in range(256)]


def even_light(picture: Image.Image, seen: Small) -> Image.Image:
    """The picture as if all of its paper had the same light, where shadows lie on it.

    A picture whose light is even, as a scan's, is returned as it is.
    """
    low, high = _quantiles(seen.paper, 0.03, 0.9)
    if low > UNEVEN * high or min(picture.size) < SMALLEST_SHADED:
        return picture
    gray = to_tensor(picture)
    if seen.inverted:
        gray = 255 - gray
    half = F.avg_pool2d(gray[None, None], 2, ceil_mode=True, count_include_pad=False)[0, 0]
    paper = without_ink(half, _closing_size(half))
    full = F.interpolate(paper[None, None], size=list(gray.shape), mode="bilinear")[0, 0]
    return to_picture(gray / full.clamp_min(8) * min(high, 235.0))


def _closing_size(gray: Tensor) -> int:
    """px, odd: wider than any stroke."""
    return int((gray.size(0) * gray.size(1)) ** 0.5) // 24 * 2 + 3


def _quantiles(values: Tensor, *shares: float) -> list[float]:
    flat = values.flatten()
    return [float(flat.kthvalue(max(int(flat.numel() * share), 1))[0]) for share in shares]


def brightest(gray: Tensor, size: int) -> Tensor:
    """The brightest of a square of `size` px (odd) around each px of (h, w)."""
    return running_max(running_max(gray, size, 0), size, 1)


def running_max(values: Tensor, size: int, axis: int) -> Tensor:
    """The greatest of `size` (odd) neighbours along an axis, in about log2(size) steps."""
    half = size // 2
    pad = [half, half] if axis == 1 else [0, 0, half, half]
    out = F.pad(values, pad, value=float("-inf"))
    width = 1
    while width < size:
        step = min(width, size - width)
        length = out.size(axis) - step
        out = torch.maximum(out.narrow(axis, 0, length), out.narrow(axis, step, length))
        width += step
    return out


def _box(gray: Tensor, size: int) -> Tensor:
    """The mean of a square of `size` px (odd) around each px of (h, w), as far as it lies there."""
    for axis in (0, 1):
        length = gray.size(axis)
        half = min(size // 2, length - 1)
        sums = gray.cumsum(axis, dtype=torch.float64)
        whole = sums.narrow(axis, length - 1, 1).repeat_interleave(half, axis)
        within = torch.cat([sums.narrow(axis, half, length - half), whole], axis)
        before = length - half - 1  # so many px have some before their square
        within.narrow(axis, half + 1, before).sub_(sums.narrow(axis, 0, before))
        at = torch.arange(length)
        count = (at + half + 1).clamp_max(length) - (at - half).clamp_min(0)
        gray = within / count.unsqueeze(1 - axis)
    return gray.float()
