"""Reads pages in this process."""

import os
from typing import TYPE_CHECKING

from text_recognizer.images import ImageSource

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading


class LocalPredictor:
    """Reads pages with a TorchScript file in this process.

    Safe to call from several threads at once: TorchScript keeps no state between calls but its
    compiled code, which it guards by itself, and leaves the interpreter's lock while it computes.
    Each call needs its own memory for a page's activations, so a server bounds how many run.

    Args:
        model_path: file made by `lab compile` or staged; None for the one that LAB_MODEL names,
            else the one fetched last, else the packaged model.
        allow_private_addresses: also fetch URLs inside private networks.

    Raises:
        ModelFileError: the file is missing, damaged, or holds another model.
    """

    def __init__(
        self,
        model_path: str | os.PathLike | None = None,
        *,
        allow_private_addresses: bool = False,
    ) -> None:
        from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

        self.recognizer = ParagraphTextRecognizer(
            model_path, allow_private_addresses=allow_private_addresses
        )

    def predict(self, image: ImageSource) -> str:
        """Returns the text of an image; see `ParagraphTextRecognizer.predict`."""
        return self.recognizer.predict(image)

    def read(self, image: ImageSource) -> "PageReading":
        """Returns the text of an image with its lines; see `ParagraphTextRecognizer.read`."""
        return self.recognizer.read(image)
