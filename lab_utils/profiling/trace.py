"""Reads a trace of torch.profiler, which is JSON, into what the lab's figures are computed from.

A trace may come from another machine: its size is bounded, and whatever is wrong with it is one
sentence.
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
"""Bytes of a trace, counted uncompressed: a batch of 128 pages on a GPU has about 70 million."""

KINDS = {
    "cpu_op": "operator",
    "user_annotation": "mark",
    "gpu_user_annotation": "device mark",
    "cuda_runtime": "call",
    "cuda_driver": "call",
    "kernel": "kernel",
    "gpu_memcpy": "copy",
    "gpu_memset": "fill",
}
"""What the categories (`cat`) of events mean."""

_STEP = re.compile(r"ProfilerStep#\d+")


class TraceError(RecognizerError):
    """The file is missing, damaged, too large, or no trace of torch.profiler with a step."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a processor did from `start` to `end`, in µs since the window's start."""

    name: str
    start: float
    end: float
    thread: str
    """Process and thread, "PID/TID"."""
    correlation: int | None = None
    """Of a call into CUDA: the number that the work which it launched carries, too."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the GPU did: a kernel, a copy or a fill, in µs since the window's start."""

    name: str
    kind: str
    """"kernel", "copy" (between memories) or "fill" (of memory with a byte)."""
    start: float
    end: float
    correlation: int | None
    blocks_per_sm: float | None
    """Blocks of the kernel for each multiprocessor of the GPU; None if the trace has none."""
    occupancy: float | None
    """Estimated achieved occupancy in [0, 1]; None if the trace has none."""


@dataclass(frozen=True)
class Trace:
    """One or several steps of a profiled program on one GPU or none, all sorted by its start."""

    path: Path
    steps: list[Span]
    """What lies between two calls of the profiler's `step()`; in this lab, one batch each."""
    duration: float
    """µs of the window that the figures describe: it starts at 0 with the first step. If the trace
    says when the GPU worked for a step, the window ends with that, as it does in torch-tb-profiler:
    what the processor does by itself after the last kernel is left out."""
    operators: list[Span]
    marks: list[Span]
    """`record_function` blocks but for the steps."""
    calls: list[Span]
    """Calls into CUDA: launches, copies, synchronizations."""
    work: list[Work]
    memory_bytes: int | None
    """The most that was allocated at once on the CPU, if the profiler recorded memory."""

    @property
    def kernels(self) -> list[Work]:
        return [work for work in self.work if work.kind == "kernel"]

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
    # The profiler writes names of kernels and threads as they are: they may not be UTF-8.
    text = _read(path).decode("utf-8", "replace")
    was_enabled = gc.isenabled()
    gc.disable()  # it would look at millions of new objects again and again: 40 % of the time
    try:
        return _trace(path, json.loads(text, strict=False)["traceEvents"])
    except TraceError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise TraceError(
            f"{path} is cut, damaged or not a trace of torch.profiler; record it again."
        ) from None
    finally:
        if was_enabled:
            gc.enable()


def _read(path: Path) -> bytes:
    """The bytes of the file, unpacked."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # A few bytes can unpack to terabytes: never read on past the limit.
            data = file.read(MAX_TRACE_BYTES + 1)
    except FileNotFoundError:
        raise TraceError(f"There is no trace at {path}; record one with `lab profile`.") from None
    except (EOFError, OSError, zlib.error) as error:
        raise TraceError(f"{path} can't be read ({error}); record the trace again.") from None
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
            f"{path} has no step of the profiler; record one with `lab profile`, or call the "
            "profiler's step() after each batch."
        )
    work = events["kernel"] + events["copy"] + events["fill"]
    if len({event["args"]["device"] for event in work}) > 1:
        raise TraceError(f"{path} shows several GPUs; record a trace of one.")
    origin = min(float(event["ts"]) for event in events["step"])
    steps = _spans(events["step"], origin)
    # The plugin takes a device step for a step of its own; its window ends with the last to start.
    last = max(steps + _spans(events["device step"], origin), key=lambda span: span.start)
    if last.end <= 0:
        raise ValueError("a step without a duration")
    memory = [event["args"] for event in events["memory"]]
    return Trace(
        path=path,
        steps=steps,
        duration=last.end,
        operators=_spans(events["operator"], origin),
        marks=_spans(events["mark"], origin),
        calls=_spans(events["call"], origin),
        work=sorted((_work(event, origin) for event in work), key=lambda one: one.start),
        memory_bytes=max(
            (int(one["Total Allocated"]) for one in memory if one["Device Type"] == 0), default=None
        ),
    )


def _kind(event: dict) -> str:
    """What KINDS names, "step", "device step" or "memory"; "" for what no figure is made of.

    A device step is what the GPU did for a step, from its first kernel to its last.
    """
    if event.get("ph") == "i" and event.get("name") == "[memory]":
        return "memory"
    kind = KINDS.get(str(event.get("cat")), "") if event.get("ph") == "X" else ""
    if kind in ("mark", "device mark") and _STEP.fullmatch(event["name"]):
        return {"mark": "step", "device mark": "device step"}[kind]
    return kind


def _spans(events: list[dict], origin: float) -> list[Span]:
    """By their start, outer ones first."""
    spans = [
        Span(
            _printable(event["name"]),
            *_interval(event, origin),
            f"{event.get('pid')}/{event.get('tid')}",
            _correlation(event),
        )
        for event in events
    ]
    return sorted(spans, key=lambda span: (span.start, -span.end))


def _work(event: dict, origin: float) -> Work:
    blocks = _known(event["args"].get("blocks per SM"))
    occupancy = _known(event["args"].get("est. achieved occupancy %"))
    return Work(
        _printable(event["name"]),
        KINDS[event["cat"]],
        *_interval(event, origin),
        _correlation(event),
        blocks or None,
        None if occupancy is None else occupancy / 100,
    )


def _interval(event: dict, origin: float) -> tuple[float, float]:
    start, duration = float(event["ts"]) - origin, float(event["dur"])
    # Beyond this, a difference of two times is no longer exact to a µs.
    if not (abs(float(event["ts"])) < 2**53 and 0 <= duration < 2**53):
        raise ValueError("a time that can't be")
    return start, start + duration


def _correlation(event: dict) -> int | None:
    value = event.get("args", {}).get("correlation")
    return None if value is None else int(value)


def _known(value: Any) -> float | None:
    """A number, or None for anything else: the profiler writes "N/A" where it knows none."""
    is_number = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if is_number else None


@functools.lru_cache(maxsize=4096)
def _printable(name: str) -> str:
    """A name without commands for the terminal, and without what no file takes."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
