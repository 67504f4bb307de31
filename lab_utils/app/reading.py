"""From a picture to what the page shows: the text, a sentence on how it went, and the lines found.

Doubtful lines are dashed in the picture and named in words, so that neither colour nor sight is
needed to find them.
"""

import base64
import html
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from text_recognizer.overlay import DOUBTFUL

if TYPE_CHECKING:
    from lab_utils.app.pictures import Picture
    from lab_utils.predictors import Predictor
    from text_recognizer.images import LoadedImage
    from text_recognizer.paragraph_text_recognizer import Line, PageReading

FOUND_SIDE = 1200
"""Longest side in px of the picture with the lines: sharp on a phone, and some 100 kB."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one reading."""

    text: str
    """The text as it is."""
    lines: str
    """HTML: the text as a list, with doubtful lines marked."""
    message: str
    """HTML: lines, seconds, and which lines are doubtful."""
    found: str
    """HTML: the page with the lines found."""


def read_next(predictor: "Predictor", pages: "Iterator[Picture | LoadedImage]") -> Shown | None:
    """Reads the next of a document's pages; None after the last one. Raises as `read_page`."""
    page = next(pages, None)
    return None if page is None else read_page(predictor, page)


def document(pages: Sequence[Shown], trouble: str = "") -> Shown:
    """The pages of a document as one; a single page as it is.

    Args:
        pages: At least one.
        trouble: HTML: why the pages after them were not read.
    """
    if len(pages) == 1 and not trouble:
        return pages[0]
    headings = [f"<h3>Page {number}</h3>" for number in range(1, len(pages) + 1)]
    count = "1 page" if len(pages) == 1 else f"{len(pages)} pages"

    def under_headings(parts: Iterable[str]) -> str:
        return "".join(chain.from_iterable(zip(headings, parts, strict=True)))

    return Shown(
        "\n\n".join(page.text for page in pages),
        under_headings(page.lines for page in pages),
        f"<p class='said'>Read {count}.</p>{trouble}" + under_headings(p.message for p in pages),
        "".join(page.found for page in pages),
    )


def read_page(predictor: "Predictor", picture: "Picture | LoadedImage") -> Shown:
    """Reads a picture for the page; raises the predictor's errors."""
    start = time.perf_counter()
    reading = predictor.read(picture)
    seconds = time.perf_counter() - start
    message = summary(reading, seconds)
    figure = _figure(picture, reading)
    return Shown(reading.text, _listed(reading), message, figure)


def summary(reading: "PageReading", seconds: float) -> str:
    """How the reading went, as HTML: lines, seconds, and the numbers of doubtful lines."""
    if not reading.lines:
        return notice(
            reading.note or "No writing was found.",
            "Is the picture sharp, and the writing dark on light paper or light on dark?",
        )
    count = len(reading.lines)
    said = f"Read {count} {'line' if count == 1 else 'lines'} in {seconds:.1f} s."
    numbers = [str(number) for number, _ in doubtful_lines(reading)]
    if reading.note:
        return f"<p class='said'>{said}</p>{notice(reading.note)}"
    if not numbers:
        return f"<p class='said'>{said}</p>"
    named = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    which = f"Line {named} is" if len(numbers) == 1 else f"Lines {named} are"
    return f"<p class='said'>{said} <strong>{which} doubtful</strong>: check with the page.</p>"


def doubtful_lines(reading: "PageReading") -> list[tuple[int, "Line"]]:
    """The lines that are dashed in the picture, with their numbers from 1 on."""
    numbered = enumerate(reading.lines, start=1)
    return [(number, line) for number, line in numbered if line.confidence < DOUBTFUL]


def notice(what: str, advice: str = "") -> str:
    """A message that something is wrong, as HTML."""
    more = f" {html.escape(advice)}" if advice else ""
    return f"<p class='notice'><strong>{html.escape(what)}</strong>{more}</p>"


def _listed(reading: "PageReading") -> str:
    doubtful = {number for number, _ in doubtful_lines(reading)}
    items = []
    for number, line in enumerate(reading.lines, start=1):
        text = f"<span class='line'>{html.escape(line.text)}</span>"
        if number in doubtful:
            mark = f"<span class='mark'>doubtful? {line.confidence:.0%}</span>"
            items.append(f"<li class='doubtful'>{text}{mark}</li>")
        else:
            items.append(f"<li>{text}</li>")
    return f"<ol class='lines'>{''.join(items)}</ol>"


def _figure(picture: "Picture | LoadedImage", reading: "PageReading") -> str:
    """The page with the lines over it, drawn by the browser: numbers stay legible on a phone."""
    from PIL import Image

    from text_recognizer.images import load_image

    if not reading.lines:
        return ""
    page = load_image(picture).page.copy()
    page.thumbnail((FOUND_SIDE, FOUND_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    stream = io.BytesIO()
    page.save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    drawn = [_drawn(number, line, reading) for number, line in enumerate(reading.lines, start=1)]
    paths, labels = ("".join(column) for column in zip(*drawn, strict=True))
    return (
        f"<figure><div class='page' role='img' aria-label='{_described(reading)}'>"
        f"<img alt='' width='{page.width}' height='{page.height}' "
        f"src='data:image/jpeg;base64,{data}'>"
        f"<svg viewBox='0 0 {reading.width} {reading.height}' preserveAspectRatio='none' "
        f"aria-hidden='true'>{paths}</svg>{labels}</div>"
        "<figcaption>The lines found, numbered as in the text. Dashed and with a question mark: "
        "doubtful.</figcaption></figure>"
    )


def _drawn(number: int, line: "Line", reading: "PageReading") -> tuple[str, str]:
    """A line's path as SVG in px of the page, and its number beside the start as HTML."""
    if not line.path:
        return "", ""
    doubtful = line.confidence < DOUBTFUL
    points = " ".join(f"{x:g},{y:g}" for x, y in line.path)
    x, y = line.path[0]
    where = f"--x:{100 * x / reading.width:.2f}%;top:{100 * y / reading.height:.2f}%"
    kind = "number doubtful" if doubtful else "number"
    return (
        f"<polyline class='{'doubtful' if doubtful else ''}' points='{points}'/>",
        f"<span class='{kind}' style='{where}'>{number}{'?' if doubtful else ''}</span>",
    )


def _described(reading: "PageReading") -> str:
    count = len(reading.lines)
    lines = "one line" if count == 1 else f"{count} lines"
    doubtful = [f"line {number}" for number, _ in doubtful_lines(reading)]
    ending = f"; doubtful: {', '.join(doubtful)}" if doubtful else "; none is doubtful"
    return f"The page with {lines} drawn where they were found{ending}."
