"""What the page's buttons and the API's endpoints do: from what came in to what goes out.

Every error is a RecognizerError for a program, and a notice on the page for a person.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from lab_utils.app.admission import Admission
from lab_utils.app.feedback import FeedbackFolder
from lab_utils.app.reading import PageRead, notice, read_page, show
from lab_utils.app.uploads import picture_in
from lab_utils.predictors import Predictor, PredictorError, RequestRefusedError
from text_recognizer.documents import is_document, is_pdf
from text_recognizer.errors import RecognizerError
from text_recognizer.images import load_pages

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

_log = logging.getLogger(__name__)


class InternalError(RecognizerError):
    """A bug in the app or in its predictor."""


class ReaderAwayError(RecognizerError):
    """The model service behind the app gives no text now. Only the log says where it is."""


@dataclass(frozen=True)
class Events:
    """The functions behind the page and the API, over a predictor."""

    predictor: Predictor
    feedback: FeedbackFolder
    admission: Admission

    async def predict(self, image: dict | None) -> str:
        """Reads a page of handwriting.

        Args:
            image: The page, as {"url": DATA_URI} or a file that was uploaded here: PNG, JPEG, GIF,
                TIFF, WebP, AVIF, BMP or PPM of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        return await self._text(image)

    async def predict_base64(self, image: str) -> str:
        """Reads a page of handwriting from base64 text.

        Args:
            image: The page, as base64 text or a data URI: PNG, JPEG, GIF, TIFF, WebP, AVIF, BMP
                or PPM of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        return await self._text(image)

    async def _text(self, image: dict | str | None) -> str:
        try:
            return (await self.reading(image)).text
        except RecognizerError as error:  # Gradio shows the message of its own error only
            raise gr.Error(str(error), print_exception=False) from None

    async def reading(self, image: dict | str | None) -> "PageReading":
        """Reads what an endpoint was sent; raises RecognizerError."""
        picture = await asyncio.to_thread(picture_in, image)
        return await self._work(partial(self.predictor.read, picture))

    async def read(self, given: dict | str | None) -> tuple:
        """Reads the page's picture, each page of its PDF or TIFF, or what was written on its
        canvas; returns what each part of the page shows then."""
        if not given:
            return _shown(show((), "There is nothing to read yet.", "Add a picture, or write."))
        try:
            picture = await asyncio.to_thread(picture_in, given)
            pages, trouble = await self._pages(picture)
        except RecognizerError as error:
            return _shown(show((), "This was not read.", str(error)))
        result = show(pages, "The pages after that were not read." if trouble else "", trouble)
        if len(pages) > 1 or is_pdf(picture):  # feedback is about one picture with its text
            return _shown(result)
        source = given["path"] or given["url"] if isinstance(given, dict) else given
        return _shown(result, source, pages[0].reading.text)

    async def _pages(self, picture: bytes) -> tuple[list[PageRead], str]:
        """The pages of a picture or a document, and why those after them were not read."""
        waiting = load_pages(picture) if is_document(picture) else iter([picture])
        pages: list[PageRead] = []
        try:
            while page := await self._work(partial(_read_next, self.predictor, waiting)):
                pages.append(page)
        except RecognizerError as error:
            if not pages:
                raise
            return pages, str(error)
        return pages, ""

    async def keep_feedback(self, source: str | None, corrected: str | None) -> str:
        """Keeps a picture that was read wrong, with its text and the right one.

        Args:
            source: an upload's path, or a data URI. It is read once more, so that a row never
                pairs a picture with the text of another one.
            corrected: the right text, or nothing.

        Returns what the page answers.
        """
        is_upload = source and not source.startswith("data:")
        try:
            sent = {"path": source} if is_upload else source
            picture = await asyncio.to_thread(picture_in, sent)
            text = (await self._work(partial(self.predictor.read, picture))).text
            right = "" if corrected in (None, text) else corrected
            await asyncio.to_thread(self.feedback.add, picture, text, right)
        except RecognizerError as error:
            return notice("This was not kept.", str(error))
        return "<p role='status'>Thank you. The picture and the text are kept on this computer.</p>"

    async def _work(self, work: Callable[[], Any]) -> Any:
        """What a predictor returns; whatever it raises becomes a RecognizerError."""
        try:
            return await self.admission.run(work)
        except PredictorError as error:
            if isinstance(error, RequestRefusedError):
                raise
            _log.warning("%s", error)
            raise ReaderAwayError(
                "The model service does not answer as it should. Try again in a minute."
            ) from None
        except RecognizerError:
            raise
        except Exception:
            _log.exception("the predictor failed")
            raise InternalError(
                "Reading failed inside the app; its log says why. Try again, or another picture."
            ) from None


def _read_next(predictor: Predictor, pages: Iterator) -> PageRead | None:
    page = next(pages, None)
    return None if page is None else read_page(predictor, page)


def _shown(result: str, source: str = "", text: str = "") -> tuple:
    """What the parts of the page show: the result and, for a picture with a text, the form."""
    return result, gr.update(visible=bool(source), open=False), source, text, ""
