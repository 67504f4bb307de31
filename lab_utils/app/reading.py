"""From a picture to what the page shows: the text, a sentence on how it went, and the lines found.

The markup is in `page/reading.html`. Doubtful lines are dashed in the picture and named in words,
so that neither colour nor sight is needed to find them.
"""

import base64
import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from text_recognizer.overlay import DOUBTFUL

if TYPE_CHECKING:
    from lab_utils.app.pictures import Picture
    from lab_utils.predictors import Predictor
    from text_recognizer.images import LoadedImage

FOUND_SIDE = 1200
"""Longest side in px of the picture with the lines: sharp on a phone, and some 100 kB."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one reading: its text, and three parts as HTML."""

    text: str
    lines: str
    """The text as a list, with doubtful lines marked."""
    message: str
    """How many lines in how many seconds, and which are doubtful."""
    found: str
    """The page with the lines found."""


def read_page(predictor: "Predictor", picture: "Picture | LoadedImage") -> Shown:
    """Reads a picture for the page; raises the predictor's errors."""
    start = time.perf_counter()
    reading = predictor.read(picture)
    seconds = time.perf_counter() - start
    numbered = enumerate(reading.lines, start=1)
    doubtful = [number for number, line in numbered if line.confidence < DOUBTFUL]
    found = ""
    if reading.lines:
        found = _html("figure", reading, _small_picture(picture), doubtful)
    message = _html("summary", reading, seconds, doubtful)
    return Shown(reading.text, _html("lines", reading), message, found)


def document(pages: Sequence[Shown], trouble: str = "") -> Shown:
    """The pages of a document as one; a single page as it is.

    Args:
        pages: at least one.
        trouble: HTML that says why the pages after them were not read.
    """
    if len(pages) == 1 and not trouble:
        return pages[0]

    def under_headings(parts: Iterable[str]) -> str:
        return "".join(f"<h3>Page {n}</h3>{part}" for n, part in enumerate(parts, start=1))

    count = "1 page" if len(pages) == 1 else f"{len(pages)} pages"
    return Shown(
        "\n\n".join(page.text for page in pages),
        under_headings(page.lines for page in pages),
        f"<p class='said'>Read {count}.</p>{trouble}" + under_headings(p.message for p in pages),
        "".join(page.found for page in pages),
    )


def notice(what: str, advice: str = "") -> str:
    """A message that something is wrong, as HTML."""
    return _html("notice", what, advice)


def _small_picture(picture: "Picture | LoadedImage") -> dict[str, Any]:
    from PIL import Image

    from text_recognizer.images import load_image

    page = load_image(picture).page.copy()
    page.thumbnail((FOUND_SIDE, FOUND_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    page.save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    return {"width": page.width, "height": page.height, "data": f"data:image/jpeg;base64,{data}"}


def _html(part: str, *values: Any) -> str:
    return str(getattr(_template().module, part)(*values))


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).with_name("page"))
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    environment.globals["DOUBTFUL"] = DOUBTFUL
    return environment.get_template("reading.html")
