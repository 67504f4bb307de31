"""Where the real handwriting lies, and which of it is for training and which for validation.

The data is not part of the project. `LAB_HANDWRITING` names its folder, else it is looked for
beside the project. The split is by writer (UNIPEN) and by page (Copiste) and stands in
`data/splits.json`.
"""

import functools
import json
import os
from pathlib import Path

from text_recognizer.errors import RecognizerError
from text_recognizer.places import project_folder


class HandwritingMissingError(RecognizerError):
    """The real handwriting is not on this machine."""


def handwriting_folder() -> Path:
    """The folder of the handwriting data; raises HandwritingMissingError where there is none."""
    folder = Path(
        os.environ.get("LAB_HANDWRITING") or project_folder().parent / "shared" / "handwriting"
    )
    if not (folder / "copiste.json").is_file():
        raise HandwritingMissingError(
            "the handwriting data is not on this machine: point LAB_HANDWRITING at its folder, "
            "or make pages of fonts alone (--kind font)"
        )
    return folder


@functools.cache
def splits() -> dict[str, list[str]]:
    """The writers and pages kept for validation: `unipen_validation`, `copiste_validation`."""
    return json.loads((project_folder() / "data" / "splits.json").read_text())


def wanted(name: str, validation_names: list[str], split: str) -> bool:
    """Whether a writer or page belongs to the split `train` or `validation`."""
    return (name in validation_names) == (split == "validation")
