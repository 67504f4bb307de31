"""The pictures of notebook 04, and the made device whose traces its exercises take apart.

Figures are made without pyplot's global state.
"""

import json
import statistics
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lab_utils.figures import COLOURS, HATCHES
from lab_utils.lessons.curves import draw_curves
from lab_utils.service.queueing import simulate_queue
from text_recognizer.places import SAMPLE_PAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lab_utils.profiling import Profile, Trace

WARM_UPS = 2
"""TorchScript watches the first run, and makes its code faster in the second."""

MADE_DEVICE = "made for an exercise, no real device"
SMS = 80
"""Multiprocessors of the made device."""
WARPS_PER_BLOCK, WARPS_PER_SM = 8, 64
LAUNCH_US = 30.0
"""What the made CPU needs for an operator that starts one kernel."""
KERNEL_US = 12.5
"""What a kernel takes at least: as long as its blocks fill no multiprocessor more than once."""
STAGES = {"finder": (16, 20), "reader": (40, 40)}
"""Kernels of each stage, and blocks a page of each kernel."""
TRACING_US, TRACING_US_A_PAGE = 240.0, 60.0
"""The CPU follows the lines of a batch, between finder and reader; the reader waits for them."""


def made_trace(pages: int) -> dict[str, Any]:
    """A batch of so many pages on a device that does not exist, in the form of torch.profiler.

    It follows a few rules, the constants above: the CPU starts kernels one after the other, the
    device runs them in this order, and a kernel takes longer only once its blocks fill the device.
    """
    batch = _MadeBatch(pages)
    batch.run_stage("finder")
    batch.wait("aten::to")  # the map of lines goes to the CPU
    batch.trace_lines()
    batch.run_stage("reader")
    batch.wait("aten::item")
    batch.annotate("ProfilerStep#0", 0.0)
    return {
        "schemaVersion": 1,
        "made": "by lab_utils.lessons.batch_size_profiling.figures.made_trace, not recorded",
        "deviceProperties": [{"id": 0, "name": MADE_DEVICE, "numSms": SMS}],
        "traceEvents": sorted(batch.events, key=lambda event: (event["ts"], -event["dur"])),
    }


def write_made_traces(sizes: Sequence[int], folder: Path) -> dict[int, Path]:
    """Writes the made device's traces for batches of these sizes; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for pages in sizes:
        paths[pages] = folder / f"made_batch_{pages}.json"
        paths[pages].write_text(json.dumps(made_trace(pages)))
    return paths


class _MadeBatch:
    """The clocks of the made CPU and the made device (µs), and what happened so far."""

    def __init__(self, pages: int) -> None:
        self.pages, self.events = pages, []
        self.now = self.device_free = 0.0
        self.count = 0

    def _add(self, category: str, name: str, start: float, end: float, **arguments: Any) -> None:
        device = category == "kernel"
        self.events.append(
            {
                "ph": "X",
                "cat": category,
                "name": name,
                "pid": 0 if device else 1,
                "tid": 7 if device else 1,
                "ts": round(1000 + start, 3),
                "dur": round(end - start, 3),
                "args": arguments,
            }
        )

    def annotate(self, name: str, start: float) -> None:
        self._add("user_annotation", name, start, self.now)

    def run_stage(self, stage: str) -> None:
        """The CPU launches the stage's kernels and goes on; the device works them off in order."""
        kernels, blocks = STAGES[stage]
        start = self.now
        per_sm = blocks * self.pages / SMS
        occupancy = min(100, round(100 * per_sm * WARPS_PER_BLOCK / WARPS_PER_SM))
        for number in range(kernels):
            operator = "aten::relu" if number % 2 else "aten::conv2d"
            begin, self.now = self.now, self.now + LAUNCH_US
            self.count += 1
            ids = {"External id": self.count, "correlation": self.count}
            self._add("cpu_op", operator, begin, self.now, **{"External id": self.count})
            self._add("cuda_runtime", "cudaLaunchKernel", begin + LAUNCH_US / 2, self.now, **ids)
            kernel_start = max(self.now, self.device_free)
            self.device_free = kernel_start + KERNEL_US * max(1.0, per_sm)
            self._add(
                "kernel",
                f"made_{operator[6:]}_kernel",
                kernel_start,
                self.device_free,
                **ids,
                **{
                    "device": 0,
                    "stream": 7,
                    "blocks per SM": per_sm,
                    "warps per SM": per_sm * WARPS_PER_BLOCK,
                    "est. achieved occupancy %": occupancy,
                },
            )
        self.annotate(stage, start)

    def wait(self, operator: str) -> None:
        """The CPU needs a result, so it waits until the device has done all that was launched."""
        start, self.now = self.now, max(self.now, self.device_free) + 4
        self.count += 1
        ids = {"External id": self.count}
        self._add("cpu_op", operator, start, self.now, **ids)
        self._add("cuda_runtime", "cudaStreamSynchronize", start, self.now - 1, **ids)

    def trace_lines(self) -> None:
        """Many small operators on the CPU; the longest single call is not what takes longest."""
        start = self.now
        pieces = 20
        total = TRACING_US + TRACING_US_A_PAGE * self.pages
        shares = [("aten::argmin", 0.6 / pieces), ("aten::nonzero", 0.2 / pieces)] * pieces
        for operator, share in [("aten::sort", 0.15), *shares, ("aten::stack", 0.05)]:
            begin, self.now = self.now, self.now + total * share
            self.count += 1
            self._add("cpu_op", operator, begin, self.now, **{"External id": self.count})
        self.annotate("following lines", start)


def gpu_profile(sizes: Sequence[int], folder: Path) -> tuple["Profile | None", str]:
    """The profile of this machine's GPU, else of the recorded one, and a sentence that says which.

    Args:
        sizes: batch sizes to measure where there is a GPU.
        folder: for the traces of a GPU that is here.
    """
    import torch

    from lab_utils.profiling import profile_batch_sizes, recorded_profile
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    if torch.cuda.is_available():
        recognizer = ParagraphTextRecognizer(device="cuda")
        measured = profile_batch_sizes(recognizer, "cuda", sizes, repeats=10, out=folder)
        return measured, f"Measured here: {measured.about}."
    recorded = recorded_profile("cuda")
    if recorded:
        return recorded, f"PyTorch finds no GPU here. Recorded on {recorded.about}."
    return None, "PyTorch finds no GPU here, and the lab has no recording of one."


def gpu_pictures(gpu: "Profile") -> Iterator[tuple["Figure", str, str]]:
    """The pictures of a GPU's profile: figure, caption and text instead of it.

    Its curve, how busy it was, and the batches that were traced: the smallest and the largest.
    """
    from lab_utils.profiling import read_trace
    from lab_utils.profiling.plots import latency_and_throughput, utilization
    from lab_utils.profiling.timeline import timeline

    name = gpu.device.get("name") or gpu.device["kind"]
    yield (
        latency_and_throughput([gpu]),
        f"Figure A. The batch curve of {name}.",
        "The time of a batch and the pages a second, against the number of pages in a batch.",
    )
    yield (
        utilization([gpu]),
        "Figure B. How busy the GPU was, in three ways.",
        "Three curves against the number of pages in a batch.",
    )
    traced = [batch for batch in gpu.measured if batch.trace]
    for letter, batch in zip("CD", [*traced[:1], *traced[1:][-1:]], strict=False):
        pages = f"{batch.batch_size} page" + "s" * (batch.batch_size != 1)
        yield (
            timeline(read_trace(batch.trace)),
            f"Figure {letter}. A batch of {pages} on {name}.",
            f"Lanes of the processor and the GPU for {pages}: bars where something runs.",
        )


LAUNCH_COLUMNS = ["where", "way", "pages/s", "same text"]


def launch_ways(page: Path) -> list[list[str]]:
    """Ways to run the reader on a page's lines: on this machine's GPU or CPU, and as recorded.

    Rows as in LAUNCH_COLUMNS; a way that needs a GPU says so.
    """
    import torch

    from lab_utils.profiling.launches import compare_ways, strips_of_page
    from lab_utils.profiling.profile import RECORDINGS
    from text_recognizer.weights import load_line_reader, packaged_weights

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reader = load_line_reader(packaged_weights() / "line_reader.safetensors").to(device).eval()
    strips, widths = strips_of_page(page)
    repeats = 20 if device.type == "cuda" else 5
    ways = compare_ways(reader, strips.to(device), widths.to(device), repeats)
    found = [("here", way.as_dict()) for way in ways]
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


def beside_busy_loops(page: Path) -> list[list[str]]:
    """The seconds of a page: idle, and beside one busy loop for each processor, with threads that
    wait asleep (passive) and in a busy loop (active)."""
    from lab_utils.profiling.busy import busy_loops, seconds_a_page
    from text_recognizer.threads import usable_processors

    rows = []
    for name, loops in (("nothing", 0), ("one busy loop a processor", usable_processors())):
        with busy_loops(loops):
            times = [seconds_a_page(policy, [page], limit=60) for policy in ("passive", "active")]
        rows.append([name, *[f"{t:.2f}" if isinstance(t, float) else t for t in times]])
    return rows


def operators_of(trace: "Trace") -> list[tuple[str, float, float]]:
    """Name, start and end (µs) of what the thread that launches the GPU's work ran, innermost.

    Nested operators are cut, so that no two pieces overlap.
    """
    from lab_utils.profiling.trace_operators import by_thread, innermost

    launching = Counter(call.thread for call in trace.calls)
    thread = launching.most_common(1)[0][0] if launching else None
    threads = by_thread(trace.operators)
    spans = threads.get(thread) or max(threads.values(), key=len, default=[])
    return [(piece.span.name, piece.start, piece.end) for piece in innermost(spans)]


def between(curve: Mapping[int, float]) -> Callable[[int], float]:
    """The seconds of a batch of any size, on straight lines between the sizes that were measured.

    Beyond the largest it goes on in proportion.
    """
    sizes = sorted(curve)

    def seconds_of(size: int) -> float:
        if size in curve:
            return curve[size]
        if size > sizes[-1]:
            return curve[sizes[-1]] * size / sizes[-1]
        right = bisect_left(sizes, size)
        low, high = sizes[max(right - 1, 0)], sizes[right]
        if low == high:  # below the smallest
            return curve[low]
        part = (size - low) / (high - low)
        return curve[low] + part * (curve[high] - curve[low])

    return seconds_of


class Played(NamedTuple):
    """What a queue on paper gave."""

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
    from text_recognizer.metrics import Edits, character_edits

    items = json.loads((SAMPLE_PAGES / "labels.json").read_text(encoding="utf-8"))["items"]
    labels = {
        SAMPLE_PAGES / one["file"]: one["text"] for one in items if one["file"] in TUNED_PAGES
    }
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


def one_by_one_and_together(fixed: float = 3.0, page: float = 1.0, pages: int = 4) -> "Figure":
    """The same pages one by one and as a batch, where each batch has a cost of its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.7), layout="constrained")
    axes = figure.add_subplot()
    rows = {"one by one": [1] * pages, "one batch": [pages]}
    labels = {0: "for each batch", 1: "for each page"}
    for row, sizes in rows.items():
        left = 0.0
        for size in sizes:
            for number, width in [(0, fixed), *[(1, page)] * size]:
                axes.barh(
                    row,
                    width,
                    left=left,
                    height=0.6,
                    color=COLOURS[number],
                    hatch=HATCHES[number],
                    edgecolor="white",
                    label=labels.pop(number, None),
                )
                left += width
    axes.invert_yaxis()
    axes.set(xlabel="time", xticks=[])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def two_stops() -> "Figure":
    """A CPU that hands work to a device and goes on: two moments to stop a clock at."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.9), layout="constrained")
    axes = figure.add_subplot()
    for number in range(4):
        axes.barh("CPU", 0.5, left=0.6 * number, height=0.5, color=COLOURS[0], edgecolor="black")
        axes.barh(
            "device",
            2,
            left=0.5 + 2 * number,
            height=0.5,
            color=COLOURS[1],
            hatch=HATCHES[1],
            edgecolor="black",
        )
    for x, text in ((2.4, "work() returns"), (8.5, "synchronize() returns")):
        axes.axvline(x, color="black", linestyle="--")
        axes.text(x - 0.08, -0.55, text, ha="right", va="center", fontsize=9)
    axes.set(xlabel="time", xticks=[], ylim=(1.5, -0.8), xlim=(-0.3, 9))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def by_wait(played: Mapping[float, Mapping[float, Played]], target: float) -> "Figure":
    """Above, the p95 against the max wait, with the target; below, how busy the device is.

    Args:
        played: by requests a second and max wait in s.
        target: s.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
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
