"""Finds what is to be read in a picture, and shows it as the finder wants it: upright, in even
light, in a size in which its lines can be told apart.

A scan that is upright is one view, the page as it is. A photo becomes the sheet that lies in it,
cut and straightened; columns and tall pictures become several views, in reading order. Each view
knows where it lies in the picture. All is torch and Pillow, on pictures of a few hundred px.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from PIL import Image

from text_recognizer.limits import MAX_PAGE_SIDE
from text_recognizer.models.normalization import overview_size
from text_recognizer.views import geometry
from text_recognizer.views.blocks import Box, count_lines, find_blocks, writing_box
from text_recognizer.views.direction import direction
from text_recognizer.views.geometry import Matrix
from text_recognizer.views.ink import Small, even_light, exposure, small, small_size, without_rules
from text_recognizer.views.paper import find_paper

LEVEL = 3.0  # degrees: what slants less is followed by the finder
CLEAR = 2.2  # how much sharper the writing's direction is than its perpendicular, to turn a page
SHARPER = 1.15  # than as it is, to level a page
SMALL_PART = 0.55  # of a picture's side: writing that takes less is shown larger
LINE_HEIGHT, ROOM = 32.0, 25.6  # px of the writing in a picture of few lines, and around it
ONE_LINE_HEIGHT, ONE_LINE_ROOM = 24.0, 36.0  # the same of one line
HIGHEST = 58.0  # px of the finder's overview from line to line: more is made smaller


@dataclass(frozen=True)
class View:
    """A part of a picture as it is read: `page`, mode "L"; the matrix from its px to the picture's;
    the number of the block that it belongs to."""

    page: Image.Image
    matrix: Matrix
    block: int

    @cached_property
    def seen(self) -> Small:
        """How it looks when made small."""
        return small(self.page)


@dataclass(frozen=True)
class Sheet:
    """The paper in a picture, upright. It is looked for once, and then shown in several ways."""

    page: Image.Image
    """The picture as the network would see it whole, at most MAX_PAGE_SIDE px."""
    picture: Image.Image
    """The same in more px, or the page itself."""
    matrix: Matrix
    """From the sheet's px to the picture's."""
    size: tuple[int, int]
    """Width and height in px of the picture."""
    seen: Small
    """How the sheet looks when made small."""
    is_whole: bool
    """Whether it is the picture as it is."""

    def views(self) -> list[View]:
        """What is read of the sheet, in reading order."""
        boxes = find_blocks(self.seen.ink)
        if self.is_whole and len(boxes) < 2 and not self._is_small_part(boxes):
            whole = self.whole_picture()
            return [replace(whole, page=even_light(self.page, self.seen))]
        if not boxes:
            boxes = [Box(0, 0, self.seen.ink.shape[1], self.seen.ink.shape[0])]
        return [self._view_of(box) for box in boxes]

    def upside_down(self) -> "Sheet":
        """The same sheet held the other way, which its lines do not tell."""
        turned, _ = geometry.turned(self.size, 180)
        gray, paper, ink = (map_.flip(0, 1) for map_ in self.seen[:3])
        seen = self.seen._replace(gray=gray, paper=paper, ink=ink)
        return replace(self, matrix=self.matrix @ turned, seen=seen, is_whole=False)

    def whole_picture(self) -> View:
        """All of the picture as one view, as it is."""
        width, height = self.page.size
        grown = geometry.scaled(self.picture.width / width, self.picture.height / height)
        return View(self.page, grown, 0)

    def _is_small_part(self, boxes: list[Box]) -> bool:
        """Whether the writing takes a small part of what is shown, in width and height."""
        if len(boxes) != 1:
            return False
        height, width = self.seen.ink.shape
        box = boxes[0]
        large = max(self.size) > 2 * MAX_PAGE_SIDE / 3
        return (
            large
            and box.right - box.left < SMALL_PART * width
            and box.bottom - box.top < SMALL_PART * height
        )

    def _view_of(self, box: Box) -> View:
        """What is read of a box, given in px of the small sheet."""
        scale = self.seen.scale
        left, top, right, bottom = (side * scale for side in box[:4])
        factor = max((right - left) / MAX_PAGE_SIDE, (bottom - top) / MAX_PAGE_SIDE, 1.0)
        size = max(round((right - left) / factor), 1), max(round((bottom - top) / factor), 1)
        grown = (right - left) / size[0], (bottom - top) / size[1]
        matrix = self.matrix @ geometry.moved(left, top) @ geometry.scaled(*grown)
        page = geometry.cut(self.picture, matrix, size, _paper(self.seen))
        return View(even_light(page, small(page)), matrix, box.block)


def sized_view(view: View, fewer_than: int | None = None) -> View:
    """The same with its writing made smaller and paper around it, where its lines are so high that
    the finder would take each for several; else the view itself.

    fewer_than: the view itself, too, if it has as many rows of ink or more.
    """
    seen = view.seen
    box = writing_box(without_rules(seen.ink))
    if box is None:
        return view
    lines = max(count_lines(seen.ink[box.top : box.bottom, box.left : box.right]), 1)
    height = (box.bottom - box.top) * seen.scale / lines
    shown = overview_size(view.page.height, view.page.width)[0] / view.page.height
    if (fewer_than is not None and lines >= fewer_than) or height * shown < HIGHEST:
        return view
    return _resized(view, box, height / LINE_HEIGHT, ROOM)


def one_line_view(view: View) -> View:
    """The same with all of its ink as one line, small and with much paper around it, as a word by
    itself is read best; the view itself where it has no ink."""
    box = writing_box(without_rules(view.seen.ink))
    if box is None:
        return view
    height = (box.bottom - box.top) * view.seen.scale
    return _resized(view, box, height / ONE_LINE_HEIGHT, ONE_LINE_ROOM)


def _resized(view: View, box: Box, factor: float, room: float) -> View:
    """What lies in a box of the small view, and so many px of paper around it; `factor` px of the
    view are one px. The view itself if that would be too large."""
    left, top, right, bottom = (side * view.seen.scale / factor for side in box[:4])
    size = max(round(right - left + 2 * room), 8), max(round(bottom - top + 2 * room), 8)
    if max(size) > 4 * MAX_PAGE_SIDE:
        return view
    matrix = geometry.scaled(factor, factor) @ geometry.moved(left - room, top - room)
    page = geometry.cut(view.page, matrix, size, _paper(view.seen))
    return View(even_light(page, small(page)), view.matrix @ matrix, view.block)


def find_sheet(page: Image.Image, picture: Image.Image) -> Sheet:
    """The sheet in a picture, cut out and turned so that its lines are level; `Sheet` has what the
    two are."""
    if (brighter := exposure(page)) is not None:
        page, picture = page.point(brighter), picture.point(brighter)
    seen = small(picture)
    matrix, size, is_whole = geometry.identity(), picture.size, True
    corners = find_paper(seen)
    if corners is not None:
        matrix, size = _straightened([(x * seen.scale, y * seen.scale) for x, y in corners])
        is_whole = False
        seen = _seen(picture, matrix, size, _paper(seen))
    found = direction(seen.ink)
    if abs(found.degrees) > LEVEL and found.level >= SHARPER and found.clear >= CLEAR:
        turned, size = geometry.turned(size, -found.degrees)
        matrix = matrix @ turned
        is_whole = False
        seen = _seen(picture, matrix, size, _paper(seen))
    return Sheet(page, picture, matrix, size, seen, is_whole)


def _straightened(corners: list[geometry.Point]) -> tuple[Matrix, tuple[int, int]]:
    """The view of a sheet between four corners; it is as wide and high as its longer edges."""

    def apart(a: int, b: int) -> float:
        (x0, y0), (x1, y1) = corners[a], corners[b]
        return ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5

    width = max(round(max(apart(0, 1), apart(3, 2))), 1)
    height = max(round(max(apart(0, 3), apart(1, 2))), 1)
    return geometry.of_corners(corners, width, height), (width, height)


def _seen(picture: Image.Image, matrix: Matrix, size: tuple[int, int], beyond: int) -> Small:
    """A view made small without being made large first."""
    reduced = small_size(*size)
    factor = size[0] / reduced[0]
    shrunk = matrix @ geometry.scaled(size[0] / reduced[0], size[1] / reduced[1])
    return small(geometry.cut(picture, shrunk, reduced, beyond))._replace(scale=factor)


def _paper(seen: Small) -> int:
    gray = float(seen.paper.median())
    return round(255 - gray if seen.inverted else gray)
