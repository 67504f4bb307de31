"""Seconds for reading a page, from the file to its text, beside two other ways to read it.

All contestants read the same pages, each in its own process with the same number of threads,
in turns: a round is every contestant once over all pages, so that a busy minute of the machine
hits all alike. A page's time is the median of its rounds, after a warm-up that is not counted.

    batch_1            this recognizer (TorchScript), one page at a time: a single request
    batch_8            the same, eight pages at a time: a queue, or a folder of scans
    greedy             one page at a time without the language model
    rapidocr           rapidocr 3.10's whole pipeline as it comes, one page at a time
    rapidocr_upright   the same without its direction classifier, which upright pages do not need
    original           the architecture of the lab that this one re-creates, with random weights,
                       made to write as many characters as the label holds; on the first pages
                       alone, since it takes long, and compared with ours on those

Then new processes read one page each, for the time from start to first text and for the memory.
The target is held against the faster rapidocr. What was not measured counts as not met. Ratios
of times are judged only on an idle machine: threads that wait for each other lose far more to
other programs than their share (the original took twenty times as long beside a training run).

    python benchmarks/read_page.py --threads 2
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page_readers import ReaderProcess
from tqdm.auto import tqdm

from text_recognizer.errors import RecognizerError
from text_recognizer.evaluate import Item, load_items
from text_recognizer.metrics import Edits, character_edits
from text_recognizer.vocabulary import to_printable_ascii

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {  # the most that each may be
    "time_to_rapidocr": 0.7,
    "time_to_original": 1 / 50,
    "peak_mb": 1000.0,
    "first_text_seconds": 5.0,
}
IDLE_CORES = 0.2  # cores that other programs may use on average in a run that is judged
STARTS = 3


class Contestant:
    """A process that reads pages, the pages that it reads, and what it took and wrote."""

    def __init__(self, name: str, process: ReaderProcess, items: list[Item], batch: int) -> None:
        self.name, self.process, self.items, self.batch = name, process, items, batch
        self.rounds: list[list[float]] = []  # seconds of each page in each round
        self.texts: list[str] = []
        self.peak_mb = 0.0

    def warm_up(self) -> None:
        """Two readings, since TorchScript optimizes in the second; short texts suffice."""
        for _ in range(2):
            batch = self.items[: self.batch]
            self.process.read([item.path for item in batch], [5] * len(batch))

    def read_round(self) -> None:
        """Reads all pages once; the pages of a batch share its time evenly."""
        seconds: list[float] = []
        self.texts = []
        for start in range(0, len(self.items), self.batch):
            batch = self.items[start : start + self.batch]
            taken, texts, self.peak_mb = self.process.read(
                [item.path for item in batch], [len(item.text) for item in batch]
            )
            seconds += [taken / len(batch)] * len(batch)
            self.texts += texts
        self.rounds.append(seconds)

    def page_seconds(self) -> list[float]:
        """The median of the rounds for each page."""
        return [statistics.median(page) for page in zip(*self.rounds, strict=True)]

    def cer(self) -> float:
        """Corpus CER of the last round, after what ASCII cannot hold is folded as in labels."""
        pairs = zip(self.texts, self.items, strict=True)
        return Edits.total(
            character_edits(to_printable_ascii(text), item.text) for text, item in pairs
        ).rate


def start_reading_process(page: Path, model: Path, threads: int) -> tuple[float, float]:
    """Seconds from the start of a process to its first line of text, and its peak memory in MB."""
    module = "text_recognizer.paragraph_text_recognizer"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--model", str(model), str(page)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        cwd=ROOT,
    )
    assert process.stdout
    process.stdout.readline()
    seconds = time.perf_counter() - began
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"The reading process ended with {process.returncode}.")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def busy_cpu_seconds() -> float:
    """CPU time that all programs of this machine have used since it started (Linux)."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def judge(measured: dict[str, float | None], idle: bool) -> dict[str, dict[str, Any]]:
    """Each target's value, limit and whether it is met.

    What was not measured is not met; a ratio from a busy machine is neither (None).
    """
    targets = {}
    for name, limit in LIMITS.items():
        value = measured.get(name)
        met = None if name.startswith("time_to") and not idle else value is not None
        targets[name] = {"value": value, "limit": limit, "met": met and value <= limit}
    return targets


def summarize(
    contestants: dict[str, Contestant], starts: Sequence[tuple[float, float]], other_cores: float
) -> dict[str, Any]:
    """The numbers of the JSON line. Ratios are of mean page times on the same pages."""
    seconds = {name: c.page_seconds() for name, c in contestants.items()}
    ours = seconds["batch_1"]
    rivals = [sum(seconds[n]) for n in ("rapidocr", "rapidocr_upright") if n in seconds]
    slow = seconds.get("original")
    peaks = {name: c.peak_mb for name, c in contestants.items()}
    peaks["single_page_process"] = max(peak for _, peak in starts)
    measured = {
        "time_to_rapidocr": sum(ours) / min(rivals) if rivals else None,
        "time_to_original": sum(ours[: len(slow)]) / sum(slow) if slow else None,
        "peak_mb": max(peaks[n] for n in ("batch_1", "batch_8", "single_page_process")),
        "first_text_seconds": statistics.median(start for start, _ in starts),
    }
    return {
        "seconds_per_page": {name: statistics.mean(s) for name, s in seconds.items()},
        "pages": {name: len(s) for name, s in seconds.items()},
        "cer": {name: c.cer() for name, c in contestants.items() if name != "original"},
        "peak_mb": peaks,
        "first_text_seconds": [start for start, _ in starts],
        "cores_used_by_others": other_cores,
        "targets": judge(measured, other_cores <= IDLE_CORES),
    }


def print_table(summary: dict[str, Any]) -> None:
    """The numbers for a reader: contestants, then targets."""
    print(f"{'':20} {'s/page':>8} {'pages':>6} {'CER':>7} {'peak MB':>8}")
    for name, seconds in summary["seconds_per_page"].items():
        cer = f"{summary['cer'][name]:.4f}" if name in summary["cer"] else "-"
        pages, peak = summary["pages"][name], summary["peak_mb"][name]
        print(f"{name:20} {seconds:8.3f} {pages:6} {cer:>7} {peak:8.0f}")
    for name, target in summary["targets"].items():
        value = "not measured" if target["value"] is None else f"{target['value']:.4g}"
        verdict = {True: "met", False: "NOT met", None: "not judged, the machine was busy"}
        print(f"{name:20} {value:>12}  at most {target['limit']:.4g}: {verdict[target['met']]}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=Path, default=ROOT / "data" / "pages")
    parser.add_argument("--split", help="of the items (show, for data/pages)")
    parser.add_argument("--limit", type=int, help="read at most so many pages")
    parser.add_argument("--original-pages", type=int, default=2, help="pages for the original (2)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, help="TorchScript file (the packaged weights)")
    parser.add_argument(
        "--rapidocr-python", default=sys.executable, help="Python of an environment with rapidocr"
    )
    options = parser.parse_args(arguments)
    split = options.split
    if split is None and options.labels == parser.get_default("labels"):
        split = "show"
    try:
        items = load_items(options.labels, "paragraph", split, options.limit)
        model = options.model or _compile()
        if not model.is_file():
            raise RecognizerError(f"There is no model file at {model}: run lab compile.")
    except RecognizerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    began, busy, own = time.perf_counter(), busy_cpu_seconds(), own_cpu_seconds()
    contestants = _start(options, model, items)
    steps = len(contestants) * (options.rounds + 1)
    with tqdm(total=steps, unit="turn", file=sys.stderr) as bar:
        for contestant in contestants.values():
            contestant.warm_up()
            bar.update()
        for _ in range(options.rounds):
            for contestant in contestants.values():
                bar.set_description(contestant.name)
                contestant.read_round()
                bar.update()
    for contestant in contestants.values():
        contestant.process.close()
    page = max(items, key=lambda item: item.path.stat().st_size).path
    starts = [start_reading_process(page, model, options.threads) for _ in range(STARTS)]

    others = (busy_cpu_seconds() - busy) - (own_cpu_seconds() - own)
    other_cores = max(0.0, others / (time.perf_counter() - began))
    summary = summarize(contestants, starts, other_cores)
    print_table(summary)
    print(f"other programs used {other_cores:.2f} cores meanwhile")
    print(json.dumps({"threads": options.threads, "rounds": options.rounds, **summary}))
    return 0


def _start(options: argparse.Namespace, model: Path, items: list[Item]) -> dict[str, Contestant]:
    """Starts all; a rival that does not start is reported on stderr and left out."""
    contestants = {}
    ours = (
        ("batch_1", "recognizer", 1),
        ("batch_8", "recognizer", 8),
        ("greedy", "without_language_model", 1),
    )
    for name, reader, batch in ours:
        process = ReaderProcess(reader, options.threads, model=model)
        contestants[name] = Contestant(name, process, items, batch)
    for name in ("rapidocr", "rapidocr_upright"):
        try:
            process = ReaderProcess(name, options.threads, python=options.rapidocr_python)
        except RuntimeError as error:
            print(f"{error} It is not measured. Its package: rapidocr==3.10.*", file=sys.stderr)
            continue
        contestants[name] = Contestant(name, process, items, 1)
    few = items[: options.original_pages]
    if few:
        longest = max(len(item.text) for item in few)
        process = ReaderProcess("original", options.threads, longest=longest)
        contestants["original"] = Contestant("original", process, few, 1)
    return contestants


def _compile() -> Path:
    """The packaged weights, compiled again: an earlier file may hold older ones."""
    if os.environ.get("LAB_MODEL"):  # the user's own file
        return Path(os.environ["LAB_MODEL"])
    from text_recognizer.compile import compile_paragraph_reader

    return compile_paragraph_reader()


if __name__ == "__main__":
    sys.exit(main())
