"""Reads a handwritten page with one TorchScript file: what a service ships and nothing more.
Needs only torch and Pillow, so that it starts quickly and fits into a small image.

    python -m text_recognizer.paragraph_text_recognizer page.png
"""

import argparse
import dataclasses
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import reduce
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from text_recognizer.decoding import one_budget
from text_recognizer.errors import DeviceError, FirstPageWarning, ModelFileError, RecognizerError
from text_recognizer.images import ImageSource, LoadedImage, image_name, load_image
from text_recognizer.limits import MAX_BATCH
from text_recognizer.model_file import checked_archive, default_model_path
from text_recognizer.side_by_side import as_it_is, one_thread_each, read_side_by_side
from text_recognizer.views import Sheet, View, find_sheet, one_line_view, sized_view
from text_recognizer.views.crossed import without_crossed_out
from text_recognizer.views.seen import (
    Seen,
    both_readings,
    confidence,
    seen_of_views,
    sure_letters,
)

if TYPE_CHECKING:
    from text_recognizer.language_model.decoding import Decoder

MODEL_FORMAT = "text-recognizer/1"
"""What a model file's `format` attribute says; another one has another interface."""

SURELY_UPRIGHT = 0.8
"""A page of less confidence is looked at upside down, too."""
SURELY_UNMIRRORED = 0.9
"""A page of less confidence is looked at in a mirror, too. Mirrored pages have up to 0.89."""
SAMPLE = 4
"""So many of its lines are read upside down or mirrored first."""
SURELY_CUT = 0.8
"""What is read with less confidence in a part of the picture is also looked for in all of it."""
MUCH_OUTSIDE, MORE = 0.5, 1.3
"""The share of a picture's ink outside of its sheet from which on the whole picture is read, too,
and how many times the sheet's sure letters it must have to be believed."""
SURELY_SIZED = 0.96
"""What is read with less confidence is also looked at with its writing made smaller."""
FEW_LINES = 2
"""So few are looked at smaller in any case: the strokes of one sign can be as many rows of ink."""
FEWER = 0.75
"""Times as many lines or less: some had been taken for several."""
MISSED = 0.3
"""The share of sure lines that another view may miss and still be believed."""
SURELY_ONE_LINE = 0.9
"""Lines of more confidence are the lines of the picture, and no part of a larger one."""
SURELY_READ = 0.98
"""One line of less confidence is read small, too."""
LINE_HEIGHTS, WORD_HEIGHTS = (30.0,), (20.0, 30.0)
"""px of the ink in the sizes in which a line and a word are read small."""
SIGN = 1.2
"""Times its height: the ink of one sign is less wide, that of a word is wider."""
MOST_LINES_OF_ONE = 6
"""What is read as so many lines at most may be one large line."""
MOST_PARTS = 3
"""So few lines may be the parts of one that slants."""
BETTER = 0.05
"""How much more confidence another view needs to be believed."""
WORSE = 0.15
"""How much less confidence a word may have that is read as one."""
CROSSED_OUT = "#"
"""What words that were crossed out are often read as."""
HOPELESS, LEAST = 0.25, 0.45
"""What is read with less confidence on a whole page is no writing, before its texts are looked for
and after: dotted paper has up to 0.2, most textures less than 0.45, pages 0.7 and more."""
DOUBTFUL_PAGE = 0.7
"""A page of less confidence is said to be doubtful."""
SPECK = 0.35
"""A line of less confidence on another page is none: a stain, grain, or the back shining through.
No line of UNIPEN's and Copiste's validation pages has less than 0.55."""
STRANGE, DOUBTFUL_STRANGE = 3.3, 0.88
"""A text of more nats a character is strange to the language model: numbers, names, French, but
also mirrored pages and other scripts. It is doubtful with less confidence than that."""
FEW_LETTERS = 3
"""So few that are doubtful are the strokes of a drawing."""
FEW_KINDS, MANY_LETTERS = 2, 8
"""More letters than that of so few kinds are a printed rule or a pattern."""
NO_WRITING = (
    "No writing was found in the picture. Is it sharp, and the writing dark on light paper or "
    "light on dark?"
)
MIRRORED = (
    "The picture is mirrored, as some front cameras save it; it was read the other way round."
)
SMALL_WRITING = 18.0
"""px of a line's strip: writing that is less high is too small."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of writing; coordinates are px of the original image, turned upright."""

    text: str
    confidence: float
    """In [0, 1]."""
    path: list[tuple[float, float]]
    """(x, y) points of the line's centre, from the start of its text to the end."""
    height: float
    """Height of the strip that was read, in px."""
    box: tuple[float, float, float, float]
    """(x0, y0, x1, y1) around the strip, within the image."""
    block: int = 0
    """Which block it belongs to, such as a column; they are numbered in reading order."""

    def scaled(self, x_scale: float, y_scale: float) -> "Line":
        """This line in px of a larger or smaller copy of the image; to 0.1 px."""
        x0, y0, x1, y1 = self.box
        return dataclasses.replace(
            self,
            path=[(round(x * x_scale, 1), round(y * y_scale, 1)) for x, y in self.path],
            height=round(self.height * y_scale, 1),
            box=(
                round(x0 * x_scale, 1),
                round(y0 * y_scale, 1),
                round(x1 * x_scale, 1),
                round(y1 * y_scale, 1),
            ),
        )

    def mirrored(self, width: float) -> "Line":
        """This line where it is in the mirrored image, which is so many px wide."""
        x0, y0, x1, y1 = self.box
        return dataclasses.replace(
            self,
            path=[(round(width - x, 1), y) for x, y in self.path],
            box=(round(width - x1, 1), y0, round(width - x0, 1), y1),
        )


@dataclasses.dataclass(frozen=True)
class PageReading:
    """A page's text with its lines in reading order."""

    text: str
    """The lines joined by newlines."""
    lines: list[Line]
    seconds: float
    """Time for loading the image, and the page's share of its batch in the network."""
    width: int
    """Width of the original image in px, turned upright."""
    height: int
    """Height of the original image in px, turned upright."""
    note: str = ""
    """What to say to the person who reads the text: why there is none, that it is doubtful, or that
    the picture is mirrored."""

    def in_px_of(self, width: int, height: int) -> "PageReading":
        """This reading with its places in px of a copy of the image that has another size."""
        lines = [line.scaled(width / self.width, height / self.height) for line in self.lines]
        return dataclasses.replace(self, lines=lines, width=width, height=height)


class ParagraphTextRecognizer:
    """Reads handwritten paragraphs from images with a compiled `ParagraphReader`.

    An image is anything that `images.load_image` takes: a PIL image, path, http(s) URL, bytes,
    base64 text or data URI; `images.load_pages` gives the pages of a PDF or TIFF one by one. What
    is wrong with an image is raised as a `RecognizerError`.

    Args:
        path: TorchScript file made by `lab compile` or `lab stage`; None for the file that
            LAB_MODEL names, else the one fetched last, else the packaged model. A line on stderr
            says which of the last two. TorchScript is code: see `text_recognizer.model_file`.
        device: "cpu", "cuda", "cuda:1", ...
        allow_private_addresses: also fetch URLs inside private networks.
        max_batch: pages that go through the network at once; more of them take more memory.
        language_model: "english" (the packaged one) or the file of a character model: a line's text
            is what is likeliest as writing and as language. "none": only as writing. "auto": what
            `LAB_LANGUAGE_MODEL` names, else English, and none for a model file that cannot.

    Raises:
        ModelFileError: a file is missing, damaged, holds another model, or code not trusted.
        DeviceError: the device is not there.
        ValueError: `max_batch` is less than one.
    """

    def __init__(
        self,
        path: str | os.PathLike | None = None,
        device: str | torch.device = "cpu",
        allow_private_addresses: bool = False,
        max_batch: int = MAX_BATCH,
        language_model: str | os.PathLike = "auto",
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}; give at least 1.")
        self.max_batch = max_batch
        self.device = _device(device)
        self.allow_private_addresses = allow_private_addresses
        self.model = _load_model(default_model_path() if path is None else Path(path), self.device)
        self._tokens: list[str] = self.model.tokens
        self._ignored = set(self.model.ignored)
        self._decoder = self._load_decoder(language_model)

    def predict(self, image: ImageSource) -> str:
        """Returns the text of one image, its lines joined by newlines; "" for a blank page."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Iterable[ImageSource]) -> list[str]:
        """Returns the texts of images of any sizes, in their order."""
        return [reading.text for reading in self.read_batch(images)]

    def read(self, image: ImageSource) -> PageReading:
        """Returns the text of one image with its lines, their places and confidences."""
        return self.read_batch([image])[0]

    @one_budget()
    def read_batch(self, images: Iterable[ImageSource]) -> list[PageReading]:
        """Returns `read` of images of any sizes, in their order.

        Those that are no files of yours must be decoded within DECODE_SECONDS together.
        """
        readings = []
        for pages, load_seconds in self._batches(images):
            start = time.perf_counter()
            with one_thread_each() if self._has_parts() else nullcontext():
                judged = self._judged_lines(pages)
            share = (time.perf_counter() - start) / len(pages)
            for page, (lines, note), seconds in zip(pages, judged, load_seconds, strict=True):
                text = "\n".join(line.text for line in lines)
                readings.append(
                    PageReading(text, lines, seconds + share, page.width, page.height, note)
                )
        return readings

    def _batches(
        self, images: Iterable[ImageSource]
    ) -> Iterator[tuple[list[LoadedImage], list[float]]]:
        """Loaded images with their loading times in s, at most `max_batch` at once in memory."""
        images = list(images)
        for first in range(0, len(images), self.max_batch):
            pages, seconds = [], []
            for position in range(first, min(first + self.max_batch, len(images))):
                start = time.perf_counter()
                try:
                    pages.append(
                        load_image(
                            images[position], allow_private_addresses=self.allow_private_addresses
                        )
                    )
                except RecognizerError as error:
                    if len(images) == 1:
                        raise
                    where = f"Image {position + 1} of {len(images)}"
                    raise type(error)(f"{where}: {error}") from None
                seconds.append(time.perf_counter() - start)
            yield pages, seconds

    def to_tensors(self, images: Sequence[LoadedImage | View]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pages (B, 1, H, W) uint8, padded at right and bottom; sizes (B, 2): height, width."""
        sizes = [(image.page.height, image.page.width) for image in images]
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        pages = torch.full((len(images), 1, height, width), 255, dtype=torch.uint8)
        for row, image, (h, w) in zip(pages, images, sizes, strict=True):
            pixels = torch.frombuffer(bytearray(image.page.tobytes()), dtype=torch.uint8)
            row[0, :h, :w] = pixels.view(h, w)
        return pages.to(self.device), torch.tensor(sizes, dtype=torch.int64)

    def _read_lines(self, images: Sequence[LoadedImage]) -> list[list[Line]]:
        """The lines of each image. What is found first is looked at once more where it may be
        upside down, or one large line that was taken for several."""
        sheets = [find_sheet(image.page, image.detail or image.page) for image in images]
        words = [self._word(sheet) for sheet in sheets]
        views = [
            [] if word is not None and confidence([word]) > SURELY_ONE_LINE else sheet.views()
            for sheet, word in zip(sheets, words, strict=True)
        ]
        seen = self._see(list(chain.from_iterable(views)))
        lines = []
        for image, sheet, word, own in zip(images, sheets, words, views, strict=True):
            found = [] if word is None else [word]
            if own:
                found = self._looked_at([next(seen) for _ in own], sheet, word)
            texts = self._texts(image, found)
            if any(CROSSED_OUT in line.text for line in texts):
                without = self._without_crossed_out(found)
                texts = texts if without is found else self._texts(image, without)
            lines.append(texts)
        return lines

    def _looked_at(self, found: list[Seen], sheet: Sheet, word: Seen | None) -> list[Seen]:
        """What was found in a sheet, or what a second look finds there."""
        is_whole = len(found) == 1 and found[0].view.page.size == sheet.whole_picture.page.size
        found = self._upright(sheet, [self._smaller(one) for one in found])
        if not is_whole:
            found = self._or_whole(sheet, self._or_uncut(sheet, found))
        if word is not None and confidence([word]) > confidence(found) - WORSE:
            return [word]
        return self._as_one_line(sheet, self._joined(found))

    def _see(self, views: Sequence[View], most: int | None = None) -> Iterator[Seen]:
        """What the network sees in views, in their order. most: only their confidence, of so
        many lines at once; there may be nothing in them for the decoder."""
        for first in range(0, len(views), self.max_batch):
            batch = views[first : first + self.max_batch]
            readings, places = self._readings(*self.to_tensors(batch), most)
            yield from seen_of_views(batch, readings, *places)

    def _readings(
        self, pages: torch.Tensor, sizes: torch.Tensor, most: int | None
    ) -> tuple[list[list[torch.Tensor]], Sequence[torch.Tensor]]:
        """One or two readings of each line, and the lines' page, confidence, path and height."""
        twice = self._decoder is not None and most is None
        if self._has_parts():
            return read_side_by_side(self.model, pages, sizes, twice, most)
        with as_it_is(self.device.type):
            if twice:
                read = self.model.read_twice(pages, sizes)
                return both_readings(*read[:4]), read[4:]
            tokens, *places = self.model.read_lines(pages, sizes)
            return [[row] for row in tokens], places

    def _has_parts(self) -> bool:
        """Whether the model tells its lines before it reads them; your own need not."""
        return hasattr(self.model, "read_found")

    def _upright(self, sheet: Sheet, found: list[Seen]) -> list[Seen]:
        """What was found, or what is found in the sheet upside down where that reads better."""
        if confidence(found) >= SURELY_UPRIGHT or not any(one.confidences for one in found):
            return found
        views = sheet.upside_down().views()
        # A page is seldom upside down, and all of its lines would be doubtful if it is not.
        if confidence(list(self._see(views, SAMPLE))) <= confidence(found) + BETTER:
            return found
        return list(self._see(views))

    def _or_uncut(self, sheet: Sheet, found: list[Seen]) -> list[Seen]:
        """What was found, or what is found in the picture without cutting out the sheet, if much
        more is read there: a patch of light, or one of several notes, looks like a sheet."""
        if sheet.ink_outside < MUCH_OUTSIDE:
            return found
        others = [self._smaller(one) for one in self._see(sheet.uncut().views())]
        letters, least = (sure_letters(one, SURELY_ONE_LINE) for one in (others, found))
        is_more = letters > MORE * least and confidence(others) > confidence(found) - BETTER
        return others if is_more else found

    def _or_whole(self, sheet: Sheet, found: list[Seen]) -> list[Seen]:
        """What was found, or what is found in the whole picture as it is unless that reads worse:
        a few strokes can look like a turned page."""
        if confidence(found) >= SURELY_CUT:
            return found
        other = list(self._see([sheet.whole_picture]))
        return other if confidence(other) > confidence(found) - BETTER else found

    def _smaller(self, found: Seen) -> Seen:
        """What was found, or the same view with its writing made smaller if that reads better:
        the finder takes a line of large writing for several."""
        if confidence([found]) >= SURELY_SIZED:
            return found
        # As many rows of ink as lines: none was taken for several.
        count = len(found.confidences)
        smaller = sized_view(found.view, fewer_than=count if count > FEW_LINES else None)
        if smaller is found.view:
            return found
        (other,) = self._see([smaller])
        if found.share_missed_by(other, SURELY_ONE_LINE) > MISSED:
            return found  # small writing below a large title is too small in it
        fewer = len(other.confidences) <= FEWER * count
        least = confidence([found]) + (0.0 if fewer else BETTER)
        return other if confidence([other]) > least else found

    def _word(self, sheet: Sheet) -> Seen | None:
        """A picture that looks like a single word, which is read best when it is small."""
        whole = sheet.whole_picture
        return self._small(whole, specks=True) if whole.is_word else None

    def _small(self, view: View, specks: bool = False) -> Seen | None:
        """A view read as one line, small; a word in two sizes, which together say its text. None
        if it is none or several lines. specks: beside a sure line, what is read with less
        confidence is none."""
        heights = WORD_HEIGHTS if view.is_word else LINE_HEIGHTS
        small = [one_line_view(view, height) for height in heights]
        if any(one is view for one in small):
            return None
        seen = list(self._see(small))
        if view.width_of_writing < SIGN:  # what is beside one sign is no part of its line
            seen = [one.sure_of(SURELY_ONE_LINE) for one in seen]
        seen = [self._joined([one])[0] for one in seen]
        if specks:
            seen = [one.sure_of(SURELY_ONE_LINE) for one in seen]
        lines = [one for one in seen if one.confidences]
        if not lines or any(len(one.confidences) > 1 for one in lines):
            return None
        line = reduce(Seen.read_as, lines)
        # A small sign may be found in one of the sizes only.
        return line if len(lines) == len(small) or confidence([line]) > SURELY_READ else None

    def _joined(self, found: list[Seen]) -> list[Seen]:
        """The same with the parts of a slanting line as one, and each line once, where they are
        few."""
        if " " not in self._tokens or sum(len(one.confidences) for one in found) > MOST_PARTS:
            return found  # a model of your own may read single signs only
        return [one.found_once().joined(self._tokens.index(" ")) for one in found]

    def _as_one_line(self, sheet: Sheet, found: list[Seen]) -> list[Seen]:
        """What was found, or the picture read as one line unless that reads worse: the strokes of
        a large word can look like several lines, or like a turned page."""
        sure = [one for view in found for one in view.confidences]
        if len(sure) == 1:
            return self._read_more(found)
        if len(sure) > MOST_LINES_OF_ONE or (sure and _are_lines(sure)):
            return found
        whole = sheet.whole_picture
        views = [whole]
        if len(found) == 1 and found[0].view.page is not whole.page:
            views.append(found[0].view)
        best, least = found, confidence(found) - BETTER
        for view in views:
            other = self._small(view, specks=not sure)
            if other is not None and confidence([other]) > least:
                best, least = [other], confidence([other])
        return best

    def _read_more(self, found: list[Seen]) -> list[Seen]:
        """One line that was found, and what is read of it when it is small, if it is in doubt."""
        (line,) = (one for one in found if one.confidences)
        if line.confidences[0] > SURELY_READ:
            return found
        other = self._small(line.view)
        if other is None or confidence([other]) < confidence([line]) - 2 * BETTER:
            return found
        return [line.read_as(other)]

    def _without_crossed_out(self, found: list[Seen]) -> list[Seen]:
        """What was found, but for words that were crossed out; the list itself if none was."""
        views = [without_crossed_out(one.view, max(one.heights, default=0.0)) for one in found]
        changed = [one.view is not view for one, view in zip(found, views, strict=True)]
        if not any(changed):
            return found
        again = self._see([view for view, is_new in zip(views, changed, strict=True) if is_new])
        return [next(again) if is_new else one for one, is_new in zip(found, changed, strict=True)]

    def _texts(self, image: LoadedImage, found: Sequence[Seen]) -> list[Line]:
        """The lines of an image with their texts and places."""
        sure = confidence(found)
        if sure < HOPELESS:
            return []
        if sure >= DOUBTFUL_PAGE:
            found = [one.sure_of(SPECK) for one in found]
        readings = [reading for one in found for reading in one.readings]
        if self._decoder is None:
            texts = [self._decode(row[0].tolist()) for row in readings]
        else:
            texts = self._decoder.page(readings)
        told = iter(texts)
        scale = image.scale
        if image.detail is not None:
            scale = image.width / image.detail.width, image.height / image.detail.height
        lines = []
        for one in found:
            for place in one.places(scale, (image.width, image.height)):
                if text := next(told):
                    lines.append(Line(text, *place))
        return lines

    def _judged_lines(self, pages: Sequence[LoadedImage]) -> list[tuple[list[Line], str]]:
        """The lines of each page, or those that it shows in a mirror if these are read better, and
        what there is to say of them."""
        judged = []
        for page, lines in zip(pages, self._read_lines(pages), strict=True):
            judged.append(self._judged(lines, page))
            sure = _confidence(lines)
            if sure >= SURELY_UNMIRRORED or sum(len(line.text) for line in lines) < MANY_LETTERS:
                continue
            mirrored = page.mirrored()
            views = find_sheet(mirrored.page, mirrored.detail or mirrored.page).views()
            if confidence(list(self._see(views, SAMPLE))) <= sure + BETTER:
                continue
            (others,) = self._read_lines([mirrored])
            if _confidence(others) > sure + BETTER and not self._judged(others, page)[1]:
                judged[-1] = [line.mirrored(page.width) for line in others], MIRRORED
        return judged

    def _judged(self, lines: list[Line], image: LoadedImage) -> tuple[list[Line], str]:
        """The lines, none where they are no writing, and what there is to say; "" if nothing."""
        letters = "".join(line.text for line in lines).replace(" ", "")
        sure = _confidence(lines)
        is_pattern = len(letters) > MANY_LETTERS and len(set(letters)) <= FEW_KINDS
        signs_alone = len(letters) > 1 and not any(one.isalnum() for one in letters)
        if lines and not is_pattern and not signs_alone and not self._is_doubtful(lines, sure):
            return lines, ""
        if max(image.page.getextrema()) < 40:
            return lines, "The picture is too dark to be read; take it again in more light."
        heights = sorted(line.height for line in lines)
        if lines and sure < DOUBTFUL_PAGE and heights[len(lines) // 2] < SMALL_WRITING:
            kept = lines if sure >= LEAST else []
            return kept, "The writing is too small to be read well; take the picture from nearer."
        few = len(letters) <= FEW_LETTERS and sure < DOUBTFUL_PAGE
        if few or is_pattern or sure < LEAST:
            return [], NO_WRITING
        return lines, "The text is doubtful: little of it was read with confidence."

    def _is_doubtful(self, lines: list[Line], sure: float) -> bool:
        """Whether lines of that confidence may say something else, or be no English writing."""
        if sure < DOUBTFUL_PAGE or sure >= DOUBTFUL_STRANGE or self._decoder is None:
            return sure < DOUBTFUL_PAGE
        return self._decoder.cost([line.text for line in lines]) >= STRANGE

    def _load_decoder(self, name: str | os.PathLike) -> "Decoder | None":
        can = hasattr(self.model, "read_twice")
        if name == "auto":
            name = (os.environ.get("LAB_LANGUAGE_MODEL") or "english") if can else "none"
        if name == "none":
            return None
        if not can:
            raise ModelFileError(
                "This model file predates language models. Make a new one with `lab compile`."
            )
        # Not at the top: who reads without a language model need not ship one.
        from text_recognizer.language_model import english_model_path
        from text_recognizer.language_model.character_model import load_model
        from text_recognizer.language_model.decoding import Decoder
        from text_recognizer.language_model.words import load_words, words_path

        path = english_model_path() if name == "english" else Path(name)
        words = load_words(words_path()) if name == "english" else None
        return Decoder(load_model(path), self._tokens[: self.model.newline], words=words)

    def _decode(self, tokens: Iterable[int]) -> str:
        return "".join(self._tokens[token] for token in tokens if token not in self._ignored)


def _confidence(lines: Sequence[Line]) -> float:
    """The mean confidence of the letters; 0 if there are none."""
    sure = sum(line.confidence * len(line.text) for line in lines)
    return sure / max(sum(len(line.text) for line in lines), 1)


def _are_lines(sure: list[float]) -> bool:
    """Whether what was read with so much confidence are lines: two are easily parts of one."""
    return (min(sure) if len(sure) == 2 else fmean(sure)) > SURELY_ONE_LINE


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise DeviceError(f'The device "{name}" is not available here; use "cpu".') from None
    return device


def _load_model(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """Loads a model file whose code is the lab's own, or trusted: see `model_file`."""
    archive = checked_archive(path)
    again = "make one with `lab compile`"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*torch\.jit\.load", DeprecationWarning)
            model = torch.jit.load(archive, map_location=device)
    except Exception:  # A damaged archive raises nearly anything, from C++ and from Python.
        raise ModelFileError(f"{path} is not a model file or is damaged; {again}.") from None
    found = getattr(model, "format", None)
    tokens, ignored = getattr(model, "tokens", None), getattr(model, "ignored", None)
    if found != MODEL_FORMAT or not tokens or ignored is None or not hasattr(model, "read_lines"):
        raise ModelFileError(
            f"{path} holds another model than a paragraph reader of this version; {again}."
        )
    if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
        raise ModelFileError(f"{path} has weights that are not finite; {again}.")
    return model.eval()


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what the images given on the command line say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m text_recognizer.paragraph_text_recognizer",
        description="Read handwritten English paragraphs from images.",
        epilog="Exit code 2 if an image or the model cannot be read.",
    )
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="file, http(s) URL, base64 text or data URI")
    add("--model", metavar="PATH", help="TorchScript file; else $LAB_MODEL, fetched or packaged")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    add("--json", action="store_true", help="one JSON object a line for each image")
    add("--allow-private-addresses", action="store_true", help="also URLs in private networks")
    add("--language-model", default="auto", help="english, none, or a file")
    options = parser.parse_args(arguments)
    try:
        recognizer = ParagraphTextRecognizer(
            options.model,
            options.device,
            options.allow_private_addresses,
            language_model=options.language_model,
        )
        codes = [_print_reading(recognizer, image, options) for image in options.images]
        sys.stdout.flush()
        return max(codes)
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print_reading(
    recognizer: ParagraphTextRecognizer, image: str, options: argparse.Namespace
) -> int:
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", FirstPageWarning)
        try:
            reading = recognizer.read(image)
        except RecognizerError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    notes = [str(one.message) for one in raised if one.category is FirstPageWarning]
    for note in filter(None, [*notes, reading.note]):
        print(f"note: {note}", file=sys.stderr)
    name = image_name(image)
    if options.json:
        print(json.dumps({"image": name, **dataclasses.asdict(reading)}))
    elif len(options.images) > 1:
        print(f"==> {name} <==\n{reading.text}\n")
    else:
        print(reading.text)
    return 0


if __name__ == "__main__":
    code = main()
    gc.freeze()  # as it ends, Python would look through all of PyTorch's objects: 0.3 s
    sys.exit(code)
