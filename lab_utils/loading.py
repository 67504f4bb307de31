"""Gives commands and notebooks the recognizer: from the file asked for, or from the packaged
weights, which are compiled first if the compiled file is missing or older."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.packaged import is_current

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer


def compile_packaged_weights(out: Path, quiet: bool = False) -> None:
    """Compiles the packaged weights to a TorchScript file and tells the seconds on stderr."""
    from text_recognizer.compile import compile_paragraph_reader

    start = time.perf_counter()
    compile_paragraph_reader(out)
    if not quiet:
        seconds = time.perf_counter() - start
        print(f"compiled the packaged weights in {seconds:.1f} s: {out}", file=sys.stderr)


def load_recognizer(
    model: Path | None = None,
    allow_private_addresses: bool = False,
    quiet: bool = False,
    language_model: str = "auto",
) -> "ParagraphTextRecognizer":
    """Loads a TorchScript file: `model`, else LAB_MODEL's, else the packaged weights.

    These are compiled first where the compiled file is missing or older than they are, and a line
    on stderr says so, unless `quiet`: stored notebooks hold nothing that differs between runs.
    `language_model` is as for `ParagraphTextRecognizer`.
    Raises ModelFileError if the file is missing, damaged or of another model.
    """
    from text_recognizer.paragraph_text_recognizer import (
        ParagraphTextRecognizer,
        compiled_model_path,
    )

    # A file that LAB_MODEL names is the user's: never written over.
    if model is None and not os.environ.get("LAB_MODEL"):
        model = compiled_model_path()
        if not is_current(model):
            compile_packaged_weights(model, quiet)
    return ParagraphTextRecognizer(
        model, allow_private_addresses=allow_private_addresses, language_model=language_model
    )
