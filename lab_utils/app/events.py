"""What the page's buttons and the API's endpoints do: from what came in to what goes out.

Every error is a RecognizerError for a program, and a notice on the page for a person.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from lab_utils.app.admission import Admission
from lab_utils.app.feedback import FeedbackFolder, RecentReadings
from lab_utils.app.pictures import picture_in
from lab_utils.app.reading import notice, read_page, show
from lab_utils.predictors import RequestRefusedError, ServiceError
from text_recognizer.documents import is_document, is_pdf
from text_recognizer.errors import RecognizerError
from text_recognizer.images import load_pages

if TYPE_CHECKING:
    from lab_utils.predictors import Predictor
    from text_recognizer.paragraph_text_recognizer import PageReading

_log = logging.getLogger(__name__)

EMPTY_TEXT = (
    "<p class='empty'>The text appears here, line by line. Below it you see the page with the "
    "lines that were found. Lines to check have a question mark.</p>"
)


class InternalError(RecognizerError):
    """A bug in the app or in its predictor."""


class ReaderAwayError(RecognizerError):
    """The model service behind the app gives no text now. Only the log says where it is."""


class Events:
    """The functions behind the page and the API, over a predictor."""

    def __init__(
        self, predictor: "Predictor", feedback: FeedbackFolder, admission: Admission
    ) -> None:
        self.predictor = predictor
        self.feedback = feedback
        self.admission = admission
        self._recent = RecentReadings()

    async def predict(self, image: dict | None) -> str:
        """Reads a page of handwriting.

        Args:
            image: The page, as {"url": DATA_URI} or a file that was uploaded here: PNG, JPEG, GIF,
                TIFF, WebP, BMP or PPM of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        return await self._text(image)

    async def predict_base64(self, image: str) -> str:
        """Reads a page of handwriting from base64 text.

        Args:
            image: The page, as base64 text or a data URI: PNG, JPEG, GIF, TIFF, WebP, BMP or PPM
                of at most 20 MB.

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
            return _notice_only("There is nothing to read yet.", "Add a picture, or write a line.")
        try:
            return await self._read(await asyncio.to_thread(picture_in, given))
        except RecognizerError as error:
            return _notice_only("This was not read.", str(error))

    async def _read(self, picture: bytes) -> tuple:
        pages, read, trouble = iter([picture]), [], ""
        if is_document(picture):
            pages = load_pages(picture)
        try:
            while page := await self._work(lambda: _read_next(self.predictor, pages)):
                read.append(page)
        except RecognizerError as error:
            if not read:
                raise
            trouble = str(error)
        text = "\n\n".join(page.reading.text for page in read)
        # Feedback is about one picture with its text.
        is_one = len(read) == 1 and not is_pdf(picture)
        key = self._recent.keep(picture, text) if is_one else None
        return *show(read, trouble), gr.update(visible=is_one, open=False), key, text, ""

    def keep_feedback(self, key: str | None, corrected: str | None) -> str:
        """Keeps a reading that was wrong, with the right text; returns what the page answers."""
        found = self._recent.find(str(key))
        if found is None:
            return notice("This reading is no longer kept.", "Read the page again, then tell us.")
        image, text = found
        try:
            right = str(corrected or "")
            self.feedback.add(image, text, "" if right == text else right)
        except RecognizerError as error:
            return notice("This was not kept.", str(error))
        return "<p role='status'>Thank you. The picture and the text are kept on this computer.</p>"

    async def _work(self, work: Callable[[], Any]) -> Any:
        """What a predictor returns; whatever it raises becomes a RecognizerError."""
        try:
            return await self.admission.run(work)
        except ServiceError as error:
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


def _read_next(predictor: "Predictor", pages: Any) -> Any:
    page = next(pages, None)
    return None if page is None else read_page(predictor, page)


def _notice_only(what: str, advice: str) -> tuple:
    """What the page shows where nothing was read: no text of an earlier picture."""
    return EMPTY_TEXT, notice(what, advice), "", gr.update(visible=False), None, "", ""
