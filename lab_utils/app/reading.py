"""From a picture to what the page shows: the text, a sentence on how it went, and the lines found.

The markup is in `page/reading.html`. Doubtful lines are dashed in the picture and named in words,
so that neither colour nor sight is needed to find them.
"""

import base64
import io
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from text_recognizer.decoding import one_budget
from text_recognizer.errors import ImageError
from text_recognizer.images import LoadedImage, load_image
from text_recognizer.overlay import DOUBTFUL

if TYPE_CHECKING:
    from lab_utils.predictors import Predictor
    from text_recognizer.paragraph_text_recognizer import PageReading

FOUND_SIDE = 1200
"""Longest side in px of the picture with the lines: sharp on a phone, and some 100 kB."""


class PageRead(NamedTuple):
    """A page with what the page shows of it."""

    reading: "PageReading"
    seconds: float
    picture: dict[str, Any]
    """`width` and `height` in px, and `data`, a data URI; nothing where no line was found, or
    where decoding the page once more takes too long."""

    @property
    def doubtful(self) -> list[int]:
        """The numbers of the doubtful lines, from 1."""
        numbered = enumerate(self.reading.lines, start=1)
        return [number for number, line in numbered if line.confidence < DOUBTFUL]


@one_budget()
def read_page(predictor: "Predictor", picture: bytes | LoadedImage) -> PageRead:
    """Reads a picture for the page; raises the predictor's errors."""
    start = time.perf_counter()
    reading = predictor.read(picture)
    seconds = time.perf_counter() - start
    return PageRead(reading, seconds, _small_picture(picture) if reading.lines else {})


def show(pages: Sequence[PageRead] = (), what: str = "", advice: str = "") -> str:
    """What the page shows of a picture, or of the pages of a document, as HTML.

    Args:
        pages: those that were read.
        what: what is wrong, and `advice`, why, or what to do: about a picture that was not read,
            or about the pages of a document after those that were.
    """
    return _template().render(pages=pages, what=what, advice=advice)


def notice(what: str, advice: str = "") -> str:
    """A message that something is wrong, as HTML."""
    return str(_template().module.notice(what, advice))


def _small_picture(picture: bytes | LoadedImage) -> dict[str, Any]:
    try:
        page = load_image(picture).page.copy()
    except ImageError:  # reading has spent the time for decoding: its text is worth more
        return {}
    page.thumbnail((FOUND_SIDE, FOUND_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    page.save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    return {"width": page.width, "height": page.height, "data": f"data:image/jpeg;base64,{data}"}


@cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).with_name("page"))
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    environment.globals |= {"DOUBTFUL": DOUBTFUL, "pages": (), "what": "", "advice": ""}
    return environment.get_template("reading.html")
