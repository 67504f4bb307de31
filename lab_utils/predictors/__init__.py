"""One interface for whatever reads pages, so that the app, the benchmarks and the notebooks need
not know whether the model runs in this process or behind an address."""

from typing import TYPE_CHECKING, Any, Protocol

from lab_utils.predictors.answers import PredictorError, RequestRefusedError
from lab_utils.predictors.remote import RemotePredictor
from text_recognizer.images import ImageSource

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer as LocalPredictor

__all__ = [
    "LocalPredictor",
    "Predictor",
    "RemotePredictor",
    "RequestRefusedError",
    "PredictorError",
]


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


def __getattr__(name: str) -> Any:
    """`LocalPredictor`, the recognizer itself: imported when it is asked for, since torch takes
    seconds. TorchScript guards its compiled code by itself, so threads may share one; each call
    needs its own memory for a page's activations, so a server limits how many run.
    """
    if name != "LocalPredictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    return ParagraphTextRecognizer
