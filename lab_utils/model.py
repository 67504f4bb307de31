"""The recognizer for commands, services and notebooks: which file it is read from, and loading it.

A file that you name comes first, then LAB_MODEL's, then the one fetched last (`lab fetch`,
`lab run`), then the packaged model, which is compiled when it is needed. A line on stderr says
which of the last two it is. Stored notebooks and tests use `packaged_model` and
`packaged_recognizer`, which say nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.errors import ModelFileError
from text_recognizer.model_file import default_model_path, packaged_model_path

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer


def model_file(model: Path | None = None) -> Path:
    """The TorchScript file to read with: `model`, or the default.

    Raises ModelFileError if it is not there.
    """
    path = default_model_path() if model is None else Path(model)
    if not path.is_file():
        raise ModelFileError(f"There is no model file at {path}; make one with `lab compile`.")
    return path


def packaged_model() -> Path:
    """The TorchScript file of the packaged model, always the same; silent."""
    return packaged_model_path(say=lambda line: None)


def packaged_recognizer(language_model: str = "auto") -> "ParagraphTextRecognizer":
    """The recognizer with the packaged model; silent."""
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    return ParagraphTextRecognizer(packaged_model(), language_model=language_model)
