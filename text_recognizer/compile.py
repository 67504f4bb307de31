"""Turns the packaged weights into the one file that inference needs: TorchScript.

TorchScript is deprecated since PyTorch 2.9 in favour of `torch.export`, which can't hold a loop
over as many lines as the page shows. Its warning is filtered here, in the one place that scripts.
"""

import warnings
from pathlib import Path

import torch

from text_recognizer.files import replacing
from text_recognizer.models.paragraph_reader import ParagraphReader
from text_recognizer.paragraph_text_recognizer import compiled_model_path
from text_recognizer.weights import load_paragraph_reader


def script_paragraph_reader(reader: ParagraphReader) -> torch.jit.ScriptModule:
    """The reader as a TorchScript module, in evaluation mode."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        return torch.jit.script(reader.eval())


def compile_paragraph_reader(out: Path | None = None, weights: Path | None = None) -> Path:
    """Writes the packaged reader (or that of a `weights` folder) as a TorchScript file.

    The file is whole or absent: it is written beside its place and moved there. `out` defaults to
    `compiled_model_path()`. Raises ModelFileError where the weights are missing or damaged.
    """
    out = Path(out or compiled_model_path())
    reader = load_paragraph_reader(weights)
    scripted = script_paragraph_reader(reader)
    with replacing(out) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        scripted.save(str(partial))
    return out
