"""The pictures of notebook 04, and what its longer cells measure.

Figures are made without pyplot's global state.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab_utils.figures import COLOURS, HATCHES, draw_curves, panels, plot
from lab_utils.profiling import (
    BatchFigures,
    Profile,
    Trace,
    profile_batch_sizes,
    read_trace,
    recorded_profile,
)
from lab_utils.profiling.batch_sizes import TYPICAL_PAGE
from lab_utils.profiling.busy import WAYS, busy_loops, seconds_a_page
from lab_utils.profiling.launches import compare_ways, strips_of_page
from lab_utils.profiling.profile import RECORDINGS
from lab_utils.profiling.trace_figures import launching_operators, parts
from lab_utils.service.queueing import simulate_queue
from text_recognizer.evaluate.labels import load_items
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.threads import usable_processors
from text_recognizer.weights import load_line_reader, packaged_weights

WARM_UPS = 2
"""TorchScript watches the first run, and makes its code faster in the second."""


def gpu_profile(sizes: Sequence[int], folder: Path) -> tuple[Profile | None, str]:
    """The profile of this machine's GPU, else of the recorded one, and a sentence that says which.

    Args:
        sizes: batch sizes to measure if there is a GPU.
        folder: for the traces that are measured here.
    """
    if torch.cuda.is_available():
        recognizer = ParagraphTextRecognizer(device="cuda")
        measured = profile_batch_sizes(recognizer, "cuda", sizes, repeats=10, out=folder)
        return measured, f"Measured here: {measured.about}."
    recorded = recorded_profile("cuda")
    if recorded:
        return recorded, f"PyTorch finds no GPU here. Recorded on {recorded.about}."
    return None, "PyTorch finds no GPU here, and the lab has no recording of one."


def two_traces(gpu: Profile | None) -> dict[int, Trace]:
    """The traces of the smallest batch and of 16 pages, or the largest, by the number of pages."""
    traced = {one.batch_size: one.trace for one in gpu.measured if one.trace} if gpu else {}
    chosen = sorted({min(traced), 16 if 16 in traced else max(traced)}) if traced else []
    return {size: read_trace(traced[size]) for size in chosen}


def one_and_many(gpu: Profile) -> tuple[BatchFigures, BatchFigures]:
    """The figures of the smallest batch and of 16 pages, or the largest."""
    by_size = {batch.batch_size: batch for batch in gpu.measured}
    return by_size[min(by_size)], by_size.get(16, gpu.measured[-1])


def rhythm(trace: Trace) -> str:
    """How long kernels take and how often one comes, and how many numbers the CPU fetches."""
    mean = sum(kernel.end - kernel.start for kernel in trace.kernels) / len(trace.kernels)
    every = trace.duration / len(trace.kernels)
    items = sum(operator.name == "aten::item" for operator in trace.operators)
    return (
        f"a kernel of {mean:.1f} µs every {every:.0f} µs; {items:,} numbers fetched by aten::item"
    )


def milliseconds_of_a_page(trace: Trace, pages: int) -> dict[str, float]:
    """The processor's ms for each page of a batch, by the marks around the model's parts; the marks
    within the reader are left out."""
    shares = parts(trace)
    outer = {name: share for name, share in shares.items() if name not in ("backbone", "encoder")}
    outer["outside all marks"] = max(0.0, 1 - sum(outer.values()))
    return {name: 1000 * trace.seconds * share / pages for name, share in outer.items()}


LAUNCH_COLUMNS = ["where", "way", "pages/s", "same text"]


def launch_ways(page: Path) -> list[list[str]]:
    """Ways to run the reader on a page's lines: on this machine's GPU or CPU, and as recorded.

    Rows as in LAUNCH_COLUMNS; a way that needs a GPU says so.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reader = load_line_reader(packaged_weights() / "line_reader.safetensors").to(device).eval()
    strips, widths = strips_of_page(page)
    repeats = 20 if device.type == "cuda" else 5
    ways = compare_ways(reader, strips.to(device), widths.to(device), repeats)
    found = [("here", dataclasses.asdict(way)) for way in ways]
    recorded = RECORDINGS / "cuda" / "launches.json"
    if device.type == "cpu" and recorded.is_file():
        found += [("recorded", way) for way in json.loads(recorded.read_text(encoding="utf-8"))]
    return [
        [
            where,
            way["name"],
            f"{way['pages_per_second']:,.1f}" if way["pages_per_second"] else way["note"],
            {True: "yes", False: "no", None: "-"}[way["equal"]],
        ]
        for where, way in found
    ]


def beside_busy_loops() -> list[list[str]]:
    """The seconds of a page of five lines, idle and beside one busy loop for each processor, in all
    WAYS."""
    rows = []
    for name, loops in (("nothing", 0), ("one busy loop per processor", usable_processors())):
        with busy_loops(loops):
            times = [seconds_a_page(way, [TYPICAL_PAGE], 1, limit=20) for way in WAYS]
        rows.append([name, *[f"{t:.2f}" if isinstance(t, float) else t for t in times]])
    return rows


def operators_of(trace: Trace) -> list[tuple[str, float, float]]:
    """Name, start and end (µs) of what the thread that launches the GPU's work ran, innermost.

    Nested operators are cut, so that no two pieces overlap.
    """
    return [(piece.name, piece.start, piece.end) for piece in launching_operators(trace)]


def between(curve: Mapping[int, float]) -> Callable[[int], float]:
    """The seconds of a batch of any size: interpolated between the measured sizes, constant
    below the smallest, and in proportion beyond the largest."""
    sizes = sorted(curve)

    def seconds_of(size: int) -> float:
        found = float(np.interp(size, sizes, [curve[one] for one in sizes]))
        return found * max(1.0, size / sizes[-1])

    return seconds_of


class Played(NamedTuple):
    """What a simulated queue gave."""

    p95: float
    """s from a request to its answer, which 95 of 100 do not exceed."""
    busy: float
    """Share of the time until the last answer in which the device worked."""


def play(
    arrivals: Sequence[float], seconds_of: Callable[[int], float], max_batch: int, max_wait: float
) -> Played:
    """Plays requests through one server; arguments as those of `simulate_queue`."""
    batches: list[float] = []

    def worked(size: int) -> float:
        batches.append(seconds_of(size))
        return batches[-1]

    answered = simulate_queue(arrivals, worked, max_batch, max_wait)
    latencies = sorted(end - start for start, end in zip(arrivals, answered, strict=True))
    return Played(latencies[-(-95 * len(latencies) // 100) - 1], sum(batches) / answered[-1])


TUNED_PAGES = ("show_font_007.jpg", "show_font_009.jpg", "show_font_013.jpg")
"""Small pages, so that trying every way takes seconds."""


def ways_compared(ways: Mapping[str, Callable[[Path], str]], rounds: int = 5) -> list[list[str]]:
    """Ways to read the same small pages: name, ms a page, times as fast as the first way, and CER.

    The ways take turns, so that a busy moment of the machine hits all alike; the median counts.
    """
    items = load_items(SAMPLE_PAGES)
    labels = {one.path: one.text for one in items if one.file in TUNED_PAGES}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, float] = {}
    for _ in range(WARM_UPS + rounds):
        for name, read in ways.items():
            start = time.perf_counter()
            texts = [read(page) for page in labels]
            seconds[name].append((time.perf_counter() - start) / len(labels))
            pairs = zip(texts, labels.values(), strict=True)
            rates[name] = Edits.total(character_edits(text, label) for text, label in pairs).rate
    medians = {name: statistics.median(spent[WARM_UPS:]) for name, spent in seconds.items()}
    base = next(iter(medians.values()))
    return [
        [name, f"{1000 * median:.0f}", f"{base / median:.2f}", f"{rates[name]:.3f}"]
        for name, median in medians.items()
    ]


def one_by_one_and_together() -> Figure:
    """Four pages one by one and as a batch, where a batch itself costs as much as three pages."""
    figure, axes = _sketch(1.7)
    pieces = {
        "for each batch": [[(4 * n, 3) for n in range(4)], [(0, 3)]],
        "for each page": [[(4 * n + 3, 1) for n in range(4)], [(3 + n, 1) for n in range(4)]],
    }
    for number, (name, rows) in enumerate(pieces.items()):
        look = {"facecolor": COLOURS[number], "hatch": HATCHES[number], "edgecolor": "white"}
        for row, spans in enumerate(rows):
            axes.broken_barh(spans, (row - 0.3, 0.6), label=None if row else name, **look)
    axes.set_yticks([0, 1], ["one by one", "one batch"])
    axes.invert_yaxis()
    axes.legend(frameon=False, loc="lower right")
    return figure


def two_stops() -> Figure:
    """A CPU that hands work to a device and goes on: two moments to stop a clock at."""
    figure, axes = _sketch(1.9)
    rows = [[(0.6 * n, 0.5) for n in range(4)], [(0.5 + 2 * n, 2) for n in range(4)]]
    for row, spans in enumerate(rows):
        look = {"facecolor": COLOURS[row], "hatch": HATCHES[row], "edgecolor": "black"}
        axes.broken_barh(spans, (row - 0.25, 0.5), **look)
    for x, text in ((2.4, "work() returns"), (8.5, "synchronize() returns")):
        axes.axvline(x, color="black", linestyle="--")
        axes.text(x - 0.08, -0.55, text, ha="right", va="center", fontsize=9)
    axes.set_yticks([0, 1], ["CPU", "device"])
    axes.set(ylim=(1.5, -0.8), xlim=(-0.3, 9))
    return figure


def _sketch(height: float) -> tuple[Figure, Axes]:
    """An empty figure, 7 inches wide, with time to the right and no numbers."""
    figure, axes = plot(7, height)
    axes.set(xlabel="time", xticks=[])
    return figure, axes


def by_wait(played: Mapping[float, Mapping[float, Played]], target: float) -> Figure:
    """Above, the p95 against the max wait, with the target; below, how busy the device is.

    Args:
        played: by requests a second and max wait in s.
        target: s.
    """
    figure, (above, below) = panels(7, 5, rows=2, sharex=True)
    p95, busy = {}, {}
    for rate, curve in played.items():
        p95[f"{rate:,} a second"] = {1000 * wait: 1000 * one.p95 for wait, one in curve.items()}
        busy[f"{rate:,} a second"] = {1000 * wait: 100 * one.busy for wait, one in curve.items()}
    draw_curves(above, p95)
    draw_curves(below, busy)
    above.axhline(1000 * target, color="black", linewidth=1)
    above.text(0, 1000 * target, "target", va="bottom", fontsize=9)
    above.set(ylabel="p95 latency (ms)")
    above.set_ylim(bottom=0)
    below.set(xlabel="max wait (ms)", ylabel="device busy (%)", ylim=(0, 103))
    below.get_legend().remove()
    return figure
