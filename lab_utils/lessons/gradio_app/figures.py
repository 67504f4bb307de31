"""The pictures of notebook 05: photos of pages that may be blank."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lab_utils.lessons.paragraph_text_recognizer.figures import faint, gallery, under_a_shadow

GRAIN = 2.0  # gray levels: a phone's sensor in a lit room


def photos(page: Image.Image) -> dict[str, Image.Image]:
    """A page (dark ink on light paper) and its empty back, as a phone sees them."""
    generator = np.random.default_rng(4)
    back = Image.new("L", page.size, 235)

    def photo(levels: object) -> Image.Image:
        grain = GRAIN * generator.standard_normal((page.height, page.width))
        return Image.fromarray((np.asarray(levels) + grain).round().clip(0, 255).astype(np.uint8))

    return {
        "page": photo(page.convert("L")),
        "page, faint": photo(faint(page)),
        "page, shadow": photo(under_a_shadow(page)),
        "back": photo(back),
        "back, shadow": photo(under_a_shadow(back)),
    }


def judged(pages: dict[str, Image.Image], blank: Sequence[bool]) -> Image.Image:
    """The pages beside each other, each with its verdict above it."""
    words = [f"{name}: {'blank' if b else 'written'}" for name, b in zip(pages, blank, strict=True)]
    return gallery(list(pages.values()), words, columns=len(pages), height=190)
