"""Turns the packaged weights into the one file that inference needs: TorchScript.

TorchScript is deprecated since PyTorch 2.9 in favour of `torch.export`, which can't hold a loop
over as many lines as the page shows. Its warning is filtered here, in the one place that scripts.
"""

import io
import sys
import warnings
from pathlib import Path

import torch

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing
from text_recognizer.model_file import KNOWN_CODE, compiled_model_path, remember_code
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.weights import load_paragraph_reader, record_digests


def script_paragraph_reader(reader: ParagraphReader) -> torch.jit.ScriptModule:
    """The reader as a TorchScript module, in evaluation mode.

    Raises RecognizerError on a version of Python for which PyTorch can't do it: it says that
    `torch.jit.script` "is not supported in Python 3.14+ and may break".
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            return torch.jit.script(reader.eval())
        except Exception as error:
            if sys.version_info < (3, 14):
                raise
            raise RecognizerError(
                "PyTorch does not support TorchScript on Python 3.14 or newer: use Python 3.13."
            ) from error


def save_script(scripted: torch.jit.ScriptModule, out: Path) -> Path:
    """Writes a script, whole or not at all, and notes that its code was compiled here."""
    content = io.BytesIO()  # PyTorch ends the whole process if a disk is full
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.jit.save(scripted, content)
    with replacing(out) as partial:
        partial.write_bytes(content.getbuffer())
        remember_code(partial)
    return out


def compile_paragraph_reader(out: Path | None = None, weights: Path | None = None) -> Path:
    """Writes the packaged reader (or that of a `weights` folder) as a TorchScript file.

    `out` defaults to `compiled_model_path()`. Raises ModelFileError if the weights are missing or
    damaged.
    """
    out = Path(out or compiled_model_path())
    return save_script(script_paragraph_reader(load_paragraph_reader(weights)), out)


def record() -> None:
    """Notes the code that this version compiles and the packaged weights' digests in the project.

    To be run after a change to the models or the weights.
    """
    remember_code(compile_paragraph_reader(weights=record_digests()), KNOWN_CODE)


if __name__ == "__main__":
    record()
