"""One interface for whatever reads pages, so that the app, the benchmarks and the notebooks need
not know whether the model runs in this process or behind an address."""

from typing import TYPE_CHECKING, Protocol

from lab_utils.predictors.local import LocalPredictor
from lab_utils.predictors.remote import RemotePredictor
from text_recognizer.images import ImageSource

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

__all__ = ["LocalPredictor", "Predictor", "RemotePredictor"]


class Predictor(Protocol):
    """Reads pages; safe to call from several threads at once."""

    def predict(self, image: ImageSource) -> str:
        """Returns the text of an image, its lines joined by newlines; "" for a blank page.

        Raises RecognizerError with a sentence that says what to do.
        """
        ...

    def read(self, image: ImageSource) -> "PageReading":
        """Returns the text with its lines, their places and confidences; raises as `predict`."""
        ...
