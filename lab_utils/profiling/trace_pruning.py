"""Makes a trace small enough to travel: without the events that no figure of the lab is made of."""

import gzip
import json
from pathlib import Path

from lab_utils.profiling.trace_events import KINDS
from text_recognizer.files import replacing


def prune(path: Path, most_bytes: int) -> bool:
    """Rewrites a trace (.json.gz) for its journey; whether it has at most `most_bytes` now.

    Its own path goes, which names a folder of the machine that recorded it. If the file is too
    large, the arrows between processor and GPU, Python's calls and counters go, then the records of
    memory. Operators, marks, calls into CUDA and the GPU's work always stay.
    """
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        document = json.load(file, strict=False)
    document.pop("traceName", None)
    events = document["traceEvents"]
    for stays in (lambda event: True, _is_needed, _is_no_memory):
        document["traceEvents"] = [event for event in events if stays(event)]
        with replacing(path) as partial, gzip.open(partial, "wt", encoding="utf-8") as file:
            json.dump(document, file, separators=(",", ":"))
        if path.stat().st_size <= most_bytes:
            return True
    return False


def _is_needed(event: dict) -> bool:
    if event.get("ph") == "i":
        return event.get("name") == "[memory]"
    return _is_no_memory(event)


def _is_no_memory(event: dict) -> bool:
    return event.get("ph") == "M" or (
        event.get("ph") == "X" and str(event.get("cat")).lower() in KINDS
    )
