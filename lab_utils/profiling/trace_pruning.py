"""Makes a trace small enough to travel: without the events that no figure of the lab is made of."""

import gzip
import json
from pathlib import Path

from lab_utils.profiling.trace_events import KINDS
from text_recognizer.files import replacing


def prune(path: Path, most_bytes: int) -> bool:
    """Rewrites a trace (.json.gz) if it has more than `most_bytes`; whether it has no more now.

    First the arrows between processor and GPU, Python's calls and counters go, then the records of
    memory. Operators, marks, calls into CUDA and the GPU's work always stay.
    """
    if path.stat().st_size <= most_bytes:
        return True
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        document = json.load(file, strict=False)
    for with_memory in (True, False):
        events = [one for one in document["traceEvents"] if _stays(one, with_memory)]
        with replacing(path) as partial, gzip.open(partial, "wt", encoding="utf-8") as file:
            json.dump({**document, "traceEvents": events}, file, separators=(",", ":"))
        if path.stat().st_size <= most_bytes:
            return True
    return False


def _stays(event: dict, with_memory: bool) -> bool:
    if event.get("ph") == "M":
        return True
    if event.get("ph") == "i":
        return with_memory and event.get("name") == "[memory]"
    return event.get("ph") == "X" and str(event.get("cat")).lower() in KINDS
