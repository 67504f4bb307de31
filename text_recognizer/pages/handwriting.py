"""Where the real handwriting is, and which of it is for training and which for validation.

The data is not part of the project. `LAB_DATA_PACK` names a pack of it (`lab pack`), or
`LAB_HANDWRITING` its folder; otherwise it is looked for beside the project. The split is by writer
(UNIPEN) and by page (Copiste) and is written in `data/splits.json`.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError
from text_recognizer.pages.pack import unpacked
from text_recognizer.places import lab_folder, project_folder

LABELS_VERSION = 4
"""Rises when UNIPEN's labels or measures change: what was kept of them before is read again."""


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
            "or make pages of fonts only (--kind font)"
        )
    return folder


def pack_folder() -> Path | None:
    """The folder of the unpacked pack that `LAB_DATA_PACK` names; None if it is not set.

    Raises PackError where it can't be read.
    """
    name = os.environ.get("LAB_DATA_PACK")
    return _unpack_once(Path(name).absolute(), lab_folder()) if name else None


@functools.lru_cache(maxsize=1)
def _unpack_once(path: Path, _home: Path) -> Path:
    return unpacked(path, pack_origin())


def pack_origin() -> dict[str, Any]:
    """What a pack must be made of to be used with this code: labels and splits."""
    return {"labels": LABELS_VERSION, "splits": splits()}


def handwriting_source() -> Path:
    """The folder that the handwriting is read from: that of the pack if there is one.

    Raises PackError and HandwritingMissingError.
    """
    return pack_folder() or handwriting_folder()


@functools.cache
def splits() -> dict[str, list[str]]:
    """The writers and pages kept for validation: `unipen_validation`, `copiste_validation`."""
    return json.loads((project_folder() / "data" / "splits.json").read_text())


def wanted(name: str, validation_names: list[str], split: str) -> bool:
    """Whether a writer or page belongs to the split `train` or `validation`."""
    return (name in validation_names) == (split == "validation")
