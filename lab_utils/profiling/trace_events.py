"""Turns the events of a trace, which are nothing but JSON, into spans, work and memory.

What a figure can't do without must be right; the profiler leaves out or garbles the rest at times.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STEP = re.compile(r"ProfilerStep#\d{1,18}")

KINDS = {
    "cpu_op": "operator",
    "operator": "operator",
    "user_annotation": "mark",
    "gpu_user_annotation": "device mark",
    "cuda_runtime": "call",
    "cuda_driver": "call",
    "runtime": "call",
    "kernel": "kernel",
    "gpu_memcpy": "copy",
    "memcpy": "copy",
    "gpu_memset": "fill",
    "memset": "fill",
}
"""What the categories (`cat`) of events mean; torch.profiler has renamed some over the years."""

MAX_DEVICES = 64
"""GPUs that a machine can have, for torch-tb-profiler as for the lab."""


class EventError(Exception):
    """Says, as a part of a sentence, what is wrong with an event."""


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
    """What a GPU did: a kernel, a copy or a fill, in µs since the window's start."""

    name: str
    kind: str
    """"kernel", "copy" (between memories) or "fill" (of memory with a byte)."""
    start: float
    end: float
    device: int
    stream: str
    correlation: int | None
    blocks_per_sm: float | None
    """Blocks of the kernel for each multiprocessor of the GPU; None if the trace has none."""
    occupancy: float | None
    """Estimated achieved occupancy in [0, 1]; None if the trace has none."""


def by_kind(events: Iterable[object]) -> defaultdict[str, list[dict]]:
    """The events by kind: what KINDS names, "step", "device step" and "memory"; no others.

    A step is what lies between two calls of the profiler's `step()`, a device step what the GPU did
    for it from its first kernel to its last. Raises EventError if an event is not a JSON object.
    """
    found: dict[str, list[dict]] = defaultdict(list)
    for event in events:
        if not isinstance(event, dict):
            raise EventError("an event is not an object")
        phase, name, category = event.get("ph"), event.get("name"), event.get("cat")
        if phase == "X" and isinstance(category, str):
            kind = KINDS.get(category.lower())
            if isinstance(name, str) and STEP.fullmatch(name):
                kind = {"operator": "step", "mark": "step", "device mark": "device step"}.get(kind)
            if kind is not None:
                found[kind].append(event)
        elif phase == "i" and name == "[memory]":
            found["memory"].append(event)
    return found


def spans_of(events: Iterable[dict], start: float) -> list[Span]:
    """Spans by their start, outer ones first; `start` is subtracted from all times."""
    spans = []
    for event in events:
        thread = f"{text(event.get('pid'))}/{text(event.get('tid'))}"
        correlation = _whole(_arguments(event).get("correlation"))
        spans.append(Span(text(event.get("name")), *_interval(event, start), thread, correlation))
    return sorted(spans, key=lambda span: (span.start, -span.end))


def work_of(events: Mapping[str, Iterable[dict]], start: float) -> list[Work]:
    """What the GPUs did, by its start; takes what `by_kind` returns."""
    found = []
    for kind in ("kernel", "copy", "fill"):
        for event in events.get(kind, ()):
            arguments = _arguments(event)
            device = _whole(arguments.get("device"))
            if device is None or not 0 <= device < MAX_DEVICES:
                continue  # nothing says whose work it was
            begin, end = _interval(event, start)
            blocks = _number(arguments.get("blocks per SM"))
            occupancy = _number(arguments.get("est. achieved occupancy %"))
            found.append(
                Work(
                    name=text(event.get("name")),
                    kind=kind,
                    start=begin,
                    end=end,
                    device=device,
                    stream=text(arguments.get("stream", event.get("tid"))),
                    correlation=_whole(arguments.get("correlation")),
                    blocks_per_sm=blocks if blocks is not None and blocks > 0 else None,
                    occupancy=occupancy / 100 if occupancy is not None and occupancy >= 0 else None,
                )
            )
    return sorted(found, key=lambda work: work.start)


def most_memory(events: Iterable[dict]) -> dict[str, int]:
    """The most bytes that were allocated at once on each device: "CPU", "GPU 0", ...

    On the CPU, what was allocated before the profiler started is not counted.
    """
    most: dict[str, int] = {}
    for event in events:
        arguments = _arguments(event)
        allocated = _whole(arguments.get("Total Allocated"))
        if allocated is not None:
            is_cpu = arguments.get("Device Type") == 0
            device = "CPU" if is_cpu else f"GPU {text(arguments.get('Device Id'))}"
            most[device] = max(most.get(device, 0), allocated)
    return most


def time_of(event: dict, key: str) -> float:
    """A time in µs, without which nothing can be said of the event."""
    value = _number(event.get(key))
    # Beyond this, a difference of two times is no longer exact to a µs.
    if value is None or abs(value) > 2**53:
        raise EventError(f'an event has no usable "{key}"')
    return value


def text(value: object) -> str:
    """A name that can be printed; "" for what is no name."""
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        return ""
    if value.isprintable():
        return value
    # Half a surrogate pair, which no file takes, or a command for the terminal.
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in value)


def _interval(event: dict, start: float) -> tuple[float, float]:
    begin, duration = time_of(event, "ts") - start, time_of(event, "dur")
    if duration < 0:
        raise EventError("an event has a negative duration")
    return begin, begin + duration


def _arguments(event: dict) -> dict:
    arguments = event.get("args")
    return arguments if isinstance(arguments, dict) else {}


def _number(value: object) -> float | None:
    """A number, or None for anything else: the profiler writes "N/A" where it knows none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None or number != int(number) else int(number)
