"""Reads a trace of torch.profiler, which is JSON, into what the lab's figures are computed from.

A trace may come from another machine: its size is bounded, and whatever is wrong with it is
reported in one sentence.
"""

import functools
import gc
import gzip
import json
import math
import os
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError

MAX_TRACE_BYTES = 200_000_000
"""Bytes of a trace, uncompressed: a batch of 128 pages on a GPU has about 70 million."""

KINDS = {
    "cpu_op": "operator",
    "user_annotation": "mark",
    "gpu_user_annotation": "device mark",
    "kernel": "kernel",
    "gpu_memcpy": "copy",
    "gpu_memset": "copy",
}
"""What the categories (`cat`) of events mean."""

_STEP = re.compile(r"ProfilerStep#\d+")
_WRONG = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RecursionError)
_WRONG += (TypeError, ValueError, zlib.error)
"""What a file that is missing, cut or something else can raise."""


class TraceError(RecognizerError):
    """The file is missing, damaged, too large, or not a trace of torch.profiler with a step."""


@dataclass(frozen=True, slots=True)
class Span:
    """What the processor or the GPU did from `start` to `end`, in µs since the window's start."""

    name: str
    start: float
    end: float
    thread: str = ""
    """Process and thread, "PID/TID"; on a GPU, device and stream."""
    blocks_per_sm: float | None = None
    """Of a kernel: its blocks for each multiprocessor of the GPU; None if not recorded."""
    occupancy: float | None = None
    """Of a kernel: estimated achieved occupancy in [0, 1]; None if not recorded."""


@dataclass(frozen=True)
class Trace:
    """One or several steps of a profiled program on one GPU or none; all spans by their start."""

    path: Path
    steps: list[Span]
    """What lies between two calls of the profiler's `step()`; in this lab, one batch each."""
    duration: float
    """µs of the window that the figures describe: it starts at 0 with the first step. If the trace
    says when the GPU worked for a step, the window ends with that, as it does in torch-tb-profiler:
    what the processor does by itself after the last kernel is left out."""
    operators: list[Span]
    marks: list[Span]
    """`record_function` blocks, without the steps."""
    kernels: list[Span]
    work: list[Span]
    """All that the GPU did: kernels, copies between memories, fills of memory."""
    memory_bytes: int | None
    """The most that was allocated at once on the CPU, if the profiler recorded memory."""

    @property
    def seconds(self) -> float:
        """Length of the window in s."""
        return self.duration / 1e6


def read_trace(path: str | os.PathLike) -> Trace:
    """Reads a trace that torch.profiler exported, .json or .json.gz.

    Raises:
        TraceError: the file is missing, cut, no such trace, without a step, of several GPUs, or
            larger than MAX_TRACE_BYTES.
    """
    path = Path(path)
    was_enabled = gc.isenabled()
    gc.disable()  # it would look at millions of new objects again and again: 40 % of the time
    try:
        # The profiler writes names of kernels and threads as they are: they may not be UTF-8.
        text = _read(path).decode("utf-8", "replace")
        return _trace(path, json.loads(text, strict=False)["traceEvents"])
    except TraceError:
        raise
    except _WRONG:
        raise TraceError(
            f"{path} is missing, cut, damaged or not a trace of torch.profiler; record one with "
            "`lab profile`."
        ) from None
    finally:
        if was_enabled:
            gc.enable()


def _read(path: Path) -> bytes:
    """The bytes of the file, unpacked: a few can unpack to terabytes, so no more than the limit."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(MAX_TRACE_BYTES + 1)
    if len(data) > MAX_TRACE_BYTES:
        raise TraceError(
            f"{path} has more than {MAX_TRACE_BYTES // 10**6} MB; record fewer steps or pages."
        )
    return data


def _trace(path: Path, every: list[dict]) -> Trace:
    events: dict[str, list[dict]] = defaultdict(list)
    for event in every:
        events[_kind(event)].append(event)
    if not events["step"]:
        raise TraceError(
            f"{path} has no step of the profiler; call the profiler's step() after each batch."
        )
    if len({one["args"]["device"] for one in events["kernel"] + events["copy"]}) > 1:
        raise TraceError(f"{path} shows several GPUs; record a trace of one.")
    origin = min(float(event["ts"]) for event in events["step"])

    def spans(*kinds: str) -> list[Span]:
        found = [_span(event, origin) for kind in kinds for event in events[kind]]
        return sorted(found, key=lambda span: (span.start, -span.end))

    # The plugin takes a device step for a step of its own; its window ends with the last to start.
    last = max(spans("step", "device step"), key=lambda span: span.start)
    if last.end <= 0:
        raise ValueError("a step without a duration")
    allocated = [
        int(event["args"]["Total Allocated"])
        for event in events[""]
        if event.get("name") == "[memory]" and event["args"]["Device Type"] == 0
    ]
    return Trace(
        path=path,
        steps=spans("step"),
        duration=last.end,
        operators=spans("operator"),
        marks=spans("mark"),
        kernels=spans("kernel"),
        work=spans("kernel", "copy"),
        memory_bytes=max(allocated, default=None),
    )


def _kind(event: dict) -> str:
    """What KINDS names, "step" or "device step"; "" for the rest.

    A device step is what the GPU did for a step, from its first kernel to its last.
    """
    kind = KINDS.get(str(event.get("cat")), "") if event.get("ph") == "X" else ""
    is_step = kind.endswith("mark") and _STEP.fullmatch(event["name"])
    return kind.replace("mark", "step") if is_step else kind


def _span(event: dict, origin: float) -> Span:
    start, duration = float(event["ts"]), float(event["dur"])
    # Beyond this, a difference of two times is no longer exact to a µs.
    if not (abs(start) < 2**53 and 0 <= duration < 2**53):
        raise ValueError("an impossible time")
    arguments = event.get("args", {})
    percent = _known(arguments.get("est. achieved occupancy %"))
    return Span(
        _printable(event["name"]),
        start - origin,
        start - origin + duration,
        f"{event.get('pid')}/{event.get('tid')}",
        _known(arguments.get("blocks per SM")) or None,
        None if percent is None else percent / 100,
    )


def _known(value: Any) -> float | None:
    """A number, or None for anything else: the profiler writes "N/A" where it knows none."""
    is_number = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if is_number else None


@functools.lru_cache(maxsize=4096)
def _printable(name: str) -> str:
    """A name without commands for the terminal, and without what no file takes."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
