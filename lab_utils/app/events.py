"""What the page's buttons and the API's endpoints do: from what came in to what goes out.

Every error is a RecognizerError for a program, and a notice on the page for a person.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from lab_utils.app.admission import Admission
from lab_utils.app.feedback import FeedbackFolder, RecentReadings
from lab_utils.app.pictures import NO_IMAGE, Picture, data_uri, pages_in, picture_bytes, picture_in
from lab_utils.app.reading import Shown, document, notice, read_page
from lab_utils.predictors.errors import RequestRefusedError, ServiceError
from text_recognizer.documents import is_pdf
from text_recognizer.errors import ImageError, RecognizerError

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
        return (await _for_gradio(self.reading_of_image(image))).text

    async def predict_base64(self, image: str) -> str:
        """Reads a page of handwriting from base64 text.

        Args:
            image: The page, as base64 text or a data URI: PNG, JPEG, GIF, TIFF, WebP, BMP or PPM
                of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        return (await _for_gradio(self.reading_of_base64(image))).text

    async def reading_of_image(self, image: Any) -> "PageReading":
        """Reads what Gradio's clients send as an image; raises RecognizerError."""
        picture = picture_in(image)
        if picture is None:
            raise ImageError(NO_IMAGE)
        return await self._work(partial(self.predictor.read, picture))

    async def reading_of_base64(self, image: Any) -> "PageReading":
        """Reads an image as base64 or a data URI; raises RecognizerError."""
        return await self._work(partial(self.predictor.read, data_uri(image)))

    async def read(self, image: dict | None) -> tuple:
        """Reads the page's picture, or each page of a PDF or TIFF; returns what each part of the
        page shows then."""
        return await self._shown(lambda: picture_in(image), "There is no picture yet.")

    async def read_drawing(self, drawing: str | None) -> tuple:
        """Reads what was written on the canvas, a data URI."""
        return await self._shown(lambda: drawing and data_uri(drawing), "The canvas is empty.")

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

    async def _shown(self, given: Callable[[], Picture | None], nothing: str) -> tuple:
        """What each part of the page shows of a picture, of none, and of one that is not read."""
        try:
            picture = given()
            if not picture:
                return _notice_only(nothing, "Add one, then read it.")
            return await self._show(picture)
        except RecognizerError as error:
            return _notice_only("This was not read.", str(error))

    async def _show(self, picture: Picture) -> tuple:
        pages, read, trouble = pages_in(picture), [], ""

        def read_next() -> Shown | None:
            page = next(pages, None)
            return None if page is None else read_page(self.predictor, page)

        try:
            while page := await self._work(read_next):
                read.append(page)
        except RecognizerError as error:
            if not read:
                raise
            trouble = notice("The pages after that were not read.", str(error))
        shown, image = document(read, trouble), picture_bytes(picture)
        # Feedback is about one picture with its text.
        is_one = len(read) == 1 and not is_pdf(image)
        key = self._recent.keep(image, shown.text) if is_one else None
        feedback = gr.update(visible=is_one, open=False)
        return shown.lines, shown.message, shown.found, feedback, key, shown.text, ""

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


async def _for_gradio(reading: Awaitable["PageReading"]) -> "PageReading":
    """Gradio shows only the message of a gr.Error."""
    try:
        return await reading
    except RecognizerError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _notice_only(what: str, advice: str) -> tuple:
    """What the page shows where nothing was read: no text of an earlier picture."""
    return EMPTY_TEXT, notice(what, advice), "", gr.update(visible=False), None, "", ""
