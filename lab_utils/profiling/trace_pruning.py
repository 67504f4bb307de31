"""Makes a trace small enough to travel: without the events that no figure of the lab is made of."""

import gzip
import json
from pathlib import Path

from lab_utils.profiling.trace import KINDS
from text_recognizer.files import replacing


def prune(path: Path, most_bytes: int) -> bool:
    """Rewrites a trace (.json.gz) for its journey; whether it has at most `most_bytes` now.

    Its own path goes, which names a folder of the machine that recorded it. If the file is too
    large, only operators, marks, calls into CUDA and the GPU's work stay.
    """
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        document = json.load(file, strict=False)
    document.pop("traceName", None)
    _write(path, document)
    if path.stat().st_size > most_bytes:
        document["traceEvents"] = [
            event for event in document["traceEvents"] if event.get("cat") in KINDS
        ]
        _write(path, document)
    return path.stat().st_size <= most_bytes


def _write(path: Path, document: dict) -> None:
    with replacing(path) as partial, gzip.open(partial, "wt", encoding="utf-8") as file:
        json.dump(document, file, separators=(",", ":"))
