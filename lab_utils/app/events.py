"""What the page's events and the API's endpoints do: from what came in to what goes out.

Whatever goes wrong is a RecognizerError for a program, and a notice on the page for a person.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from lab_utils.app.feedback import FeedbackFolder
from lab_utils.app.gate import Gate
from lab_utils.app.kept import KeptReadings
from lab_utils.app.layout import EMPTY_TEXT
from lab_utils.app.pictures import NO_IMAGE, Picture, data_uri, picture_bytes, picture_in
from lab_utils.app.reading import notice, read_page
from lab_utils.predictors.errors import RequestRefusedError, ServiceError
from text_recognizer.errors import ImageError, RecognizerError

if TYPE_CHECKING:
    from lab_utils.predictors import Predictor

_log = logging.getLogger(__name__)


class InternalError(RecognizerError):
    """A bug in the app or in its predictor."""


class ReaderAwayError(RecognizerError):
    """The model service behind the app gives no text now. Where it is, the log alone tells."""


class Events:
    """The functions behind the page and the API, over a predictor."""

    def __init__(self, predictor: "Predictor", feedback: FeedbackFolder, gate: Gate) -> None:
        self.predictor = predictor
        self.feedback = feedback
        self.gate = gate
        self._kept = KeptReadings()

    async def predict(self, image: dict | None) -> str:
        """Reads a page of handwriting.

        Args:
            image: The page, as {"url": DATA_URI} or a file that was uploaded here: PNG, JPEG, GIF,
                TIFF, WebP, BMP or PPM of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        picture = picture_in(image)
        if picture is None:
            raise ImageError(NO_IMAGE)
        return await self._work(partial(self.predictor.predict, picture))

    async def predict_base64(self, image: str) -> str:
        """Reads a page of handwriting from base64 text.

        Args:
            image: The page, as base64 text or a data URI: PNG, JPEG, GIF, TIFF, WebP, BMP or PPM
                of at most 20 MB.

        Returns:
            The text, its lines joined by newlines; empty where there is no writing.
        """
        return await self._work(partial(self.predictor.predict, data_uri(image)))

    async def read(self, image: dict | None) -> tuple:
        """Reads the page's picture; returns what the page shows then, part by part."""
        try:
            picture = picture_in(image)
            if picture is None:
                return _nothing("There is no picture yet.", "Choose one, then read it.")
            return await self._show(picture)
        except RecognizerError as error:
            return _nothing("This was not read.", str(error))

    async def read_drawing(self, drawing: str | None) -> tuple:
        """The same of what was written on the canvas, a data URI."""
        if not drawing:
            return _nothing("The canvas is empty.", "Write on it, then read it.")
        try:
            return await self._show(data_uri(drawing))
        except RecognizerError as error:
            return _nothing("This was not read.", str(error))

    def keep_feedback(self, key: str | None, corrected: str | None) -> str:
        """Keeps a reading that was wrong, and what is right; returns what the page says to it."""
        reading = self._kept.find(key) if key else None
        if reading is None:
            return notice("This reading is no longer kept.", "Read the page again, then tell.")
        try:
            right = str(corrected or "")
            self.feedback.add(reading.image, reading.text, "" if right == reading.text else right)
        except RecognizerError as error:
            return notice("This was not kept.", str(error))
        return "<p role='status'>Thank you. The picture and the text are kept on this computer.</p>"

    async def _show(self, picture: Picture) -> tuple:
        shown = await self._work(partial(read_page, self.predictor, picture))
        key = self._kept.keep(picture_bytes(picture), shown.text)
        feedback = gr.update(visible=True, open=False)
        return shown.lines, shown.message, shown.found, feedback, key, shown.text, ""

    async def _work(self, work: Callable[[], Any]) -> Any:
        """What a predictor returns; all that it raises is a RecognizerError then."""
        try:
            return await self.gate.run(work)
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


def _nothing(what: str, advice: str) -> tuple:
    """What the page shows where nothing was read: no text of an earlier picture."""
    return EMPTY_TEXT, notice(what, advice), "", gr.update(visible=False), None, "", ""
