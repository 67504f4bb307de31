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
from text_recognizer.views.blocks import count_lines, find_blocks
from text_recognizer.views.direction import direction
from text_recognizer.views.geometry import Matrix
from text_recognizer.views.ink import Box, Small, even_light, exposure, small, small_size
from text_recognizer.views.paper import find_paper, share_outside

LEVEL = 3.0  # degrees: what slants less is followed by the finder
CLEAR = 2.2  # how much sharper the writing's direction is than its perpendicular, to turn a page
SHARPER = 1.15  # than as it is, to level a page
SMALL_PART = 0.55  # of a picture's side: writing that takes less is shown larger
LINE_HEIGHT, ROOM = 32.0, 25.6  # px of the writing in a picture of few lines, and around it
ONE_LINE_ROOM = 36.0  # the same around one line
WORD = 6.0  # times its height: the ink of a word is not as wide
WORD_OF_TWO_ROWS = 1.3  # times its height, at least: what is less wide are two lines
HIGHEST = 58.0  # px of the finder's overview from line to line: more is made smaller


@dataclass(frozen=True)
class View:
    """A part of a picture as it is read: `page`, mode "L"; the matrix from its px to the picture's;
    the number of the block that it belongs to. known: how it looks when made small, if somebody has
    looked already."""

    page: Image.Image
    matrix: Matrix
    block: int
    known: Small | None = None

    @cached_property
    def seen(self) -> Small:
        """How it looks when made small."""
        return self.known or small(self.page)

    @property
    def width_of_writing(self) -> float:
        """Of its ink, in times its height; 0 where there is none."""
        box = self.seen.box
        return (box.right - box.left) / (box.bottom - box.top) if box else 0.0

    @cached_property
    def rows(self) -> int:
        """About how many rows of ink it has one below the other; 0 where there is no writing."""
        box = self.seen.box
        return count_lines(self.seen.ink[box.top : box.bottom, box.left : box.right]) if box else 0

    @property
    def is_word(self) -> bool:
        """Whether its ink may be a single word: one row, or two where its letters reach far."""
        if self.width_of_writing >= WORD:
            return False
        return self.rows == 1 or (self.rows == 2 and self.width_of_writing > WORD_OF_TWO_ROWS)


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
    ink_outside: float = 0.0
    """The share of the picture's ink that lies outside of it."""

    def views(self) -> list[View]:
        """What is read of the sheet, in reading order."""
        boxes = find_blocks(self.seen)
        if self.is_whole and len(boxes) < 2 and not self._is_small_part(boxes):
            even, whole = even_light(self.page, self.seen), self.whole_picture
            return [whole if even is self.page else View(even, whole.matrix, 0)]
        if not boxes:
            boxes = [Box(0, 0, self.seen.ink.shape[1], self.seen.ink.shape[0])]
        return [self._view_of(box) for box in boxes]

    def upside_down(self) -> "Sheet":
        """The same sheet held the other way, which its lines do not tell."""
        turned, _ = geometry.turned(self.size, 180)
        maps = {name: getattr(self.seen, name).flip(0, 1) for name in ("gray", "paper", "ink")}
        seen = replace(self.seen, **maps)
        return replace(self, matrix=self.matrix @ turned, seen=seen, is_whole=False)

    def uncut(self) -> "Sheet":
        """All of the picture, as if it showed no sheet."""
        matrix, seen = geometry.identity(), small(self.picture)
        return Sheet(self.page, self.picture, matrix, self.picture.size, seen, True)

    @cached_property
    def whole_picture(self) -> View:
        """All of the picture as one view, as it is; the same each time, with what it has seen."""
        width, height = self.page.size
        grown = geometry.scaled(self.picture.width / width, self.picture.height / height)
        is_same = self.is_whole and self.picture is self.page
        return View(self.page, grown, 0, self.seen if is_same else None)

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
        return _in_even_light(page, matrix, box.block)


def _in_even_light(page: Image.Image, matrix: Matrix, block: int) -> View:
    """A view of a page without the shadows that lie on it."""
    seen = small(page)
    even = even_light(page, seen)
    return View(even, matrix, block, seen if even is page else None)


def sized_view(view: View, fewer_than: int | None = None) -> View:
    """The same with its writing made smaller and paper around it, where its lines are so high that
    the finder would take each for several; else the view itself.

    fewer_than: the view itself, too, if it has as many rows of ink or more.
    """
    box = view.seen.box
    if box is None:
        return view
    height = (box.bottom - box.top) * view.seen.scale / max(view.rows, 1)
    shown = overview_size(view.page.height, view.page.width)[0] / view.page.height
    if (fewer_than is not None and view.rows >= fewer_than) or height * shown < HIGHEST:
        return view
    return _resized(view, box, height / LINE_HEIGHT, ROOM)


def one_line_view(view: View, height: float) -> View:
    """The same with all of its ink as one line, `height` px high and with much paper around it, as
    a word by itself is read best; the view itself where it has no ink."""
    box = view.seen.box
    if box is None:
        return view
    return _resized(view, box, (box.bottom - box.top) * view.seen.scale / height, ONE_LINE_ROOM)


def _resized(view: View, box: Box, factor: float, room: float) -> View:
    """What lies in a box of the small view, and so many px of paper around it; `factor` px of the
    view are one px. The view itself if that would be too large."""
    left, top, right, bottom = (side * view.seen.scale / factor for side in box[:4])
    size = max(round(right - left + 2 * room), 8), max(round(bottom - top + 2 * room), 8)
    if max(size) > 4 * MAX_PAGE_SIDE:
        return view
    matrix = geometry.scaled(factor, factor) @ geometry.moved(left - room, top - room)
    page = geometry.cut(view.page, matrix, size, _paper(view.seen))
    return _in_even_light(page, view.matrix @ matrix, view.block)


def find_sheet(page: Image.Image, picture: Image.Image) -> Sheet:
    """The sheet in a picture, cut out and turned so that its lines are level; `Sheet` has what the
    two are."""
    if (brighter := exposure(page)) is not None:
        page, picture = page.point(brighter), picture.point(brighter)
    seen = small(picture)
    matrix, size, is_whole, outside = geometry.identity(), picture.size, True, 0.0
    corners = find_paper(seen)
    if corners is not None:
        matrix, size = _straightened([(x * seen.scale, y * seen.scale) for x, y in corners])
        is_whole, outside = False, share_outside(seen.writing, corners)
        seen = _seen(picture, matrix, size, _paper(seen))
    found = direction(seen.ink)
    if abs(found.degrees) > LEVEL and found.level >= SHARPER and found.clear >= CLEAR:
        turned, size = geometry.turned(size, -found.degrees)
        matrix = matrix @ turned
        is_whole = False
        seen = _seen(picture, matrix, size, _paper(seen))
    return Sheet(page, picture, matrix, size, seen, is_whole, outside)


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
    return replace(small(geometry.cut(picture, shrunk, reduced, beyond)), scale=factor)


def _paper(seen: Small) -> int:
    gray = float(seen.paper.median())
    return round(255 - gray if seen.inverted else gray)
