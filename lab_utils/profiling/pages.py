"""The pages that are read while a profile is taken, chosen so that batches can be compared.

The slowest of the sample pages takes 17 times as long as the fastest, so which pages are in a batch
matters as much as how many.
"""

import itertools
from collections.abc import Sequence

from text_recognizer.images import ImageSource, LoadedImage, load_image
from text_recognizer.places import SAMPLE_PAGES

_TYPICAL = 3
"""The page to show that takes 0.96 times the average of all of them."""

_MIXED = (5, 6, 0, 11, 1, 4, 8, 10, 15, 7, 3, 14, 2, 13, 12, 9)
"""All pages to show, slow and fast ones in turns. The first 2, 4, 8 and 16 take 1 % more or less
than the average a page, other beginnings up to 9 % (processor time, median of 10 rounds)."""

SAMPLES = f"{len(_MIXED)} pages to show of data/pages, only the typical one for batches of one"


def sample_batch(size: int) -> list[LoadedImage]:
    """A batch of sample pages, decoded; beyond 16 they come again."""
    numbers = [_TYPICAL] if size == 1 else _MIXED[:size]
    return repeated(load_pages([SAMPLE_PAGES / f"show_font_{n:03}.jpg" for n in numbers]), size)


def load_pages(images: Sequence[ImageSource]) -> list[LoadedImage]:
    """The decoded images; raises a `RecognizerError` for one that can't be read."""
    return [load_image(image) for image in images]


def repeated(pages: Sequence[LoadedImage], size: int) -> list[LoadedImage]:
    """The first `size` pages, from the beginning again where there are fewer."""
    return list(itertools.islice(itertools.cycle(pages), size))
