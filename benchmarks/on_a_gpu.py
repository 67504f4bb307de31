"""Makes a few minutes of a GPU count: records the profile of notebook 04 and trains the reader.

On a machine without a network, with nothing but this checkout and a data pack (`lab pack`):

    python benchmarks/on_a_gpu.py --minutes 9 --pack handwriting.zip --out brought

Each step is a process with a limit of its own: one that fails or hangs stops no other. The folder
gets at most eight files of less than 16 MiB, which `lab adopt` reads on the machine at home. What
was done so far is always in it, whole. Steps:

    check     versions, the GPU, and one page that must read as it does on the processor
    pages     validation pages of real handwriting, made beside the check
    record    `lab profile` of batches of 1 to 32 pages, with the traces of two of them
    large     batches of 64 and 128 pages
    launches  the reader line by line, in batches, as a CUDA graph, and compiled
    train     the reader, for the time that is left; the best by validation is kept
    evaluate  the packaged reader and the new one on the validation pages

`--steps record,train` does only those, after check and pages, which the others need.
Set LAB_COMMIT to the commit if the checkout is a copy; it wins over what git says.
`--device cpu` is a dry run: the same steps with little in each. It says which of the packages that
it needs (NEEDED) are missing; `benchmarks/README.md` says how they travel.
"""

import argparse
import dataclasses
import gzip
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_utils.process import end_kept, start_kept
from text_recognizer.errors import DeviceError, RecognizerError
from text_recognizer.files import replacing
from text_recognizer.threads import prepare_threads

FORMAT = "lab-gpu/1"
MOST_BYTES = 15_500_000
"""Of a file in the folder; a little less than 16 MiB."""
MOST_TRACE_BYTES = 8_000_000
DISK = 2_000_000_000
"""Bytes that must be free: pages, a profile with all its traces, compiled models."""
SHARES = {"check": 0.08, "record": 0.2, "large": 0.09, "launches": 0.14, "evaluate": 0.1}
"""Of the minutes, at most; training gets what is left."""
SECONDS_PER_SIZE = 2.0
"""What the repeats of a batch size may take; large batches get three all the same."""
DRY_RUN_PATIENCE = 400.0
"""A dry run's limits are so many times as long: a processor is slow, and maybe busy."""
CHOSEN = ("record", "large", "launches", "train", "evaluate")
"""The steps that may be left out."""
TRACED = {"cuda": (1, 16), "cpu": (1, 2)}
SIZES = {"cuda": (1, 2, 4, 8, 16, 32), "cpu": (1, 2)}
LARGE_SIZES = {"cuda": (64, 128), "cpu": (4,)}
NEEDED = ["torch", "pytorch_lightning", "torchmetrics", "numpy", "PIL", "safetensors"]
NEEDED += ["matplotlib", "tqdm", "pydantic"]
"""Modules that some step imports."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What every step knows."""

    device: str
    minutes: float
    width: int
    workers: int | None
    out: Path
    scratch: Path
    pages: int | None
    """Validation pages of each group; None for all."""


def main() -> int:
    options = parser().parse_args()
    if options.step:
        prepare_threads()
        return _run_step(options.step, Path(options.job))
    try:
        _check(options)
        return _run_all(options)
    except RecognizerError as error:
        print(f"on_a_gpu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="by this script's own clock")
    parser.add_argument("--out", type=Path, default=Path("on-a-gpu"), help="the folder to bring")
    parser.add_argument("--pack", type=Path, help="else what LAB_DATA_PACK names")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--width", type=int, choices=(1, 2), default=1, help="of the reader")
    parser.add_argument("--workers", type=int, help="processes that make lines")
    parser.add_argument(
        "--steps", default=",".join(CHOSEN), help="besides check and pages (default: all)"
    )
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


def _check(options: argparse.Namespace) -> None:
    """Raises RecognizerError for what can't work, before anything is written."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RecognizerError(
            f"Python here lacks {', '.join(missing)}; benchmarks/README.md says how to bring them."
        )
    import torch

    from text_recognizer.pages.handwriting import pack_origin
    from text_recognizer.pages.pack import check_pack

    if not 0 < options.minutes <= 24 * 60:
        raise RecognizerError(f"--minutes is {options.minutes:g}; give a number above 0.")
    if unknown := set(options.steps.split(",")) - {*CHOSEN}:
        raise RecognizerError(
            f"There is no step {min(unknown)!r}; choose from {', '.join(CHOSEN)}."
        )
    if options.device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("PyTorch finds no CUDA GPU here; --device cpu makes a dry run.")
    if options.pack:
        os.environ["LAB_DATA_PACK"] = str(options.pack.absolute())
    if not os.environ.get("LAB_DATA_PACK"):
        raise RecognizerError("Give --pack FILE; `lab pack --out FILE` makes one.")
    check_pack(Path(os.environ["LAB_DATA_PACK"]), pack_origin())
    place = options.out.absolute()
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < DISK:
        raise RecognizerError(
            f"{place} has less than {DISK / 1e9:g} GB free; name another folder with --out."
        )
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise RecognizerError(f"{options.out} is there and not empty; name another folder.")


def _run_all(options: argparse.Namespace) -> int:
    clock = Clock(60 * options.minutes, DRY_RUN_PATIENCE if options.device == "cpu" else 1.0)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecognizerError(
            f"{options.out} can't be written ({error.strerror}); name another folder."
        ) from None
    with tempfile.TemporaryDirectory(prefix="lab-gpu-") as scratch:
        os.environ["LAB_HOME"] = scratch  # models, fonts and caches: nothing outside the folder
        job = Job(
            options.device,
            options.minutes,
            options.width,
            options.workers,
            options.out.absolute(),
            Path(scratch),
            2 if options.device == "cpu" else None,
        )
        result = {"format": FORMAT, "command": _command(), "steps": {}}
        with (job.out / "log.txt").open("wb") as log:
            pages = _start("pages", job, log)
            _finish("check", _start("check", job, log), clock.limit("check"), job, result)
            _finish("pages", pages, clock.limit("check") + 60 * clock.patience, job, result)
            for name in (step for step in CHOSEN if step in options.steps.split(",")):
                if name == "train":
                    job = dataclasses.replace(job, minutes=clock.minutes_to_train())
                    limit = 60 * job.minutes * clock.patience + 20
                else:
                    limit = clock.limit(name)
                _finish(name, _start(name, job, log), limit, job, result)
        _split_large_files(job.out)
    result["seconds"] = round(clock.seconds(), 1)
    _write(job.out / "result.json", result)
    return _report(job.out, result)


def _command() -> str:
    """The command without the folders of this machine: of a path outside the current folder, only
    its name is kept."""
    here = Path.cwd()
    words = []
    for word in sys.argv:
        option, equals, value = word.rpartition("=")
        path = Path(value)
        if path.is_absolute():
            value = str(path.relative_to(here) if path.is_relative_to(here) else path.name)
        words.append(f"{option}{equals}{value}")
    return shlex.join(words)


class Clock:
    """The script's own time: what a step may take, and what is left for training."""

    def __init__(self, total: float, patience: float) -> None:
        self.total, self.patience, self._began = total, patience, time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def limit(self, step: str) -> float:
        """s for a step: its share of the time, and no more than is left of it."""
        left = self.total - self.seconds()
        limit = SHARES[step] * self.total
        if self.patience == 1:
            limit = max(min(limit, left), 1.0)
        return limit * self.patience

    def minutes_to_train(self) -> float:
        left = self.total - self.seconds() - SHARES["evaluate"] * self.total
        if self.patience > 1:  # the steps before it may have used up all the time
            left = max(left, 0.3 * self.total)
        return max(left - 5, 3) / 60


def _start(name: str, job: Job, log: Any) -> subprocess.Popen:
    description = {**dataclasses.asdict(job), "out": str(job.out), "scratch": str(job.scratch)}
    path = job.scratch / f"{name}.job.json"
    path.write_text(json.dumps(description))
    command = [sys.executable, "-u", __file__, "--step", name, "--job", str(path)]
    return start_kept(command, stdout=log, stderr=log)


def _finish(
    name: str, process: subprocess.Popen, limit: float, job: Job, result: dict[str, Any]
) -> None:
    """Waits for a step, ends it at its limit, and writes down how it went."""
    start = time.monotonic()
    try:
        process.wait(limit)
        status = "done" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        status = f"stopped after {limit:.0f} s"
    finally:
        end_kept(process)
    written = job.scratch / f"{name}.json"
    found = json.loads(written.read_text()) if written.is_file() else {}
    seconds = round(time.monotonic() - start, 1)
    result["steps"][name] = {"status": status, "seconds": seconds, **found}
    _write(job.out / "result.json", result)
    print(f"{name}: {status}, {seconds:.1f} s", flush=True)


def _run_step(name: str, description: Path) -> int:
    """One step, in a process of its own; what it found goes to a file for the first process."""
    job = Job(**json.loads(description.read_text()))
    job = dataclasses.replace(job, out=Path(job.out), scratch=Path(job.scratch))
    print(f"--- {name}", flush=True)
    try:
        found = STEPS[name](job)
    except RecognizerError as error:
        found = {"error": str(error)}
    _write(job.scratch / f"{name}.json", found)
    return 1 if "error" in found else 0


def check(job: Job) -> dict[str, Any]:
    """Versions, the device, and one page read there and on the processor."""
    import torch

    from lab_utils.profiling.device import describe_device, describe_versions, project_commit
    from text_recognizer.compile import compile_paragraph_reader
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
    from text_recognizer.places import project_folder

    model = compile_paragraph_reader(_model(job))
    page = project_folder() / "data" / "pages" / "show_font_002.jpg"
    texts = [
        ParagraphTextRecognizer(model, device, language_model="none").predict(page)
        for device in ("cpu", job.device)
    ]
    found = {
        "device": describe_device(torch.device(job.device)),
        "versions": describe_versions(),
        "commit": project_commit(),
        "equal_text": texts[0] == texts[1],
        "text": texts[1],
    }
    return found if texts[0] == texts[1] else {**found, "error": "the GPU reads another text"}


def pages(job: Job) -> dict[str, Any]:
    """Validation pages of real handwriting, made by one process for each group."""
    import concurrent.futures

    with concurrent.futures.ProcessPoolExecutor(len(_GROUPS)) as pool:
        counts = pool.map(_make_pages, _GROUPS, [job.scratch] * len(_GROUPS))
        return {"pages": dict(zip(_GROUPS, counts, strict=True))}


_GROUPS = ("unipen", "copiste")


def _make_pages(group: str, scratch: Path) -> int:
    from text_recognizer.evaluate.validation import write_pages

    return len(write_pages(scratch / "pages" / group, [group], progress=False))


def record(job: Job) -> dict[str, Any]:
    """`profile.json` and the traces of two batch sizes."""
    profile = _profile(job, SIZES[job.device], "profile")
    shutil.copyfile(job.scratch / "profile" / "profile.json", job.out / "profile.json")
    traced = [batch.trace for batch in profile.batches if batch.batch_size in TRACED[job.device]]
    for trace in traced:
        if trace and prune(trace, MOST_TRACE_BYTES):
            shutil.copyfile(trace, job.out / f"{trace.parent.name}.{trace.name}")
    best = profile.best
    rates = {str(b.batch_size): round(b.pages_per_second, 2) for b in profile.measured}
    return {
        "pages_per_second": rates,
        "best_batch": best.batch_size if best else None,
        "gpu_utilization": {str(b.batch_size): b.gpu_utilization for b in profile.measured},
    }


def prune(path: Path, most_bytes: int) -> bool:
    """Rewrites a trace (.json.gz) for its journey; whether it has at most `most_bytes` now.

    Its own path goes, which names a folder of the machine that recorded it. If the file is too
    large, only operators, marks and the GPU's work stay.
    """
    from lab_utils.profiling.trace import KINDS

    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        document = json.load(file, strict=False)
    document.pop("traceName", None)
    every = document["traceEvents"]
    for events in (every, [event for event in every if event.get("cat") in KINDS]):
        document["traceEvents"] = events
        with replacing(path) as partial, gzip.open(partial, "wt", encoding="utf-8") as file:
            json.dump(document, file, separators=(",", ":"))
        if path.stat().st_size <= most_bytes:
            return True
    return False


def large(job: Job) -> dict[str, Any]:
    """The largest batches, added to the profile if there is one: only their times, since reading
    their traces would take longer than all else."""
    from lab_utils.profiling import Profile

    found = _profile(job, LARGE_SIZES[job.device], "large", traced=False)
    path = job.scratch / "profile" / "profile.json"
    if path.is_file():
        smaller = Profile.load(path)
        dataclasses.replace(smaller, batches=[*smaller.batches, *found.batches]).save(path)
        with replacing(job.out / "profile.json") as partial:
            shutil.copyfile(path, partial)
    rates = {str(b.batch_size): round(b.pages_per_second, 2) for b in found.measured}
    return {"pages_per_second": rates, "status_by_size": _statuses(found)}


def _statuses(profile: Any) -> dict[str, str]:
    from lab_utils.profiling.profile import TOO_LARGE

    return {str(b.batch_size): "measured" if b.seconds else TOO_LARGE for b in profile.batches}


def _profile(job: Job, sizes: tuple[int, ...], name: str, traced: bool = True) -> Any:
    from lab_utils.profiling import profile_batch_sizes
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    recognizer = ParagraphTextRecognizer(_model(job), job.device, language_model="none")
    return profile_batch_sizes(
        recognizer,
        job.device,
        sizes,
        out=job.scratch / name,
        repeats=None if job.device == "cuda" else 1,
        seconds=SECONDS_PER_SIZE,
        traced=traced,
        pages=[item.path for item in _typical_first(_items(job))],
        command=shlex.join(["lab", "profile", "--device", job.device, "--batch-sizes"])
        + " "
        + ",".join(map(str, sizes))
        + " --pages VALIDATION_PAGES",
    )


def _model(job: Job) -> Path:
    return job.scratch / "packaged.pt"


def _items(job: Job) -> list[Any]:
    """The validation pages of both groups by turns, `job.pages` of each at most."""
    import itertools

    from text_recognizer.evaluate.labels import load_items

    groups = [load_items(job.scratch / "pages" / group)[: job.pages] for group in _GROUPS]
    turns = itertools.zip_longest(*groups)
    return [item for pair in turns for item in pair if item is not None]


def _typical_first(items: list[Any]) -> list[Any]:
    """The items, with one of average length first: a batch of one page reads only that."""
    mean = sum(len(item.text) for item in items) / len(items)
    first = min(items, key=lambda item: abs(len(item.text) - mean))
    return [first, *[item for item in items if item is not first]]


def launches(job: Job) -> dict[str, Any]:
    """The reader on one page's lines in several ways; also kept for notebook 04."""
    import torch

    from lab_utils.profiling.launches import compare_ways, strips_of_page
    from text_recognizer.weights import load_line_reader, packaged_weights

    strips, widths = strips_of_page(_typical_first(_items(job))[0].path)
    reader = load_line_reader(packaged_weights() / "line_reader.safetensors")
    reader = reader.to(job.device).eval()
    device = torch.device(job.device)
    repeats = 20 if device.type == "cuda" else 1
    ways = compare_ways(reader, strips.to(device), widths.to(device), repeats)
    return {"lines": len(widths), "ways": [dataclasses.asdict(way) for way in ways]}


def train(job: Job) -> dict[str, Any]:
    """The reader, for `job.minutes`; its weights and their history go to the folder."""
    from text_recognizer.train.by_time import TimedSettings, train_for

    small = {"workers": job.workers}
    if job.device == "cpu":
        small = {"workers": 1, "batch": 2, "validation_pages": 1, "first_lines": 8}
    settings = TimedSettings(job.minutes, job.width, **small)
    trained = train_for(settings, job.out, device=job.device)
    first, last = trained.validations[0], trained.validations[-1]
    return {
        "minutes": job.minutes,
        "cer_before": first.cer,
        "cer": trained.score,
        "lines_made_per_second": round(last.made_per_second, 1),
        "lines_trained_per_second": round(last.trained_per_second, 1),
        "waited_seconds": round(last.waited_seconds, 1),
        "batch": trained.batch,
        "notes": trained.notes,
    }


def evaluate(job: Job) -> dict[str, Any]:
    """CER without a language model, of the packaged reader and of the new one, by group."""
    from text_recognizer.compile import compile_paragraph_reader
    from text_recognizer.evaluate import evaluate as read_all
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
    from text_recognizer.weights import packaged_weights

    models = {"packaged": _model(job)}
    reader = job.out / "line_reader.safetensors"
    if reader.is_file():
        folder = job.scratch / "weights"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(reader, folder / reader.name)
        finder = "line_finder.safetensors"
        shutil.copyfile(packaged_weights() / finder, folder / finder)
        models["new"] = compile_paragraph_reader(job.scratch / "new.pt", folder)
    rates = {}
    for name, model in models.items():
        recognizer = ParagraphTextRecognizer(model, job.device, language_model="none")
        groups = read_all(recognizer, _items(job), batch_size=16).groups
        rates[name] = {group: round(rate.cer, 5) for group, rate in groups.items()}
    return {"cer": rates}


STEPS: dict[str, Callable[[Job], dict[str, Any]]] = {
    step.__name__: step for step in (check, pages, record, large, launches, train, evaluate)
}


def _split_large_files(folder: Path) -> None:
    """Cuts what is too large to come back into parts; `lab adopt` joins them."""
    for path in list(folder.iterdir()):
        if path.stat().st_size <= MOST_BYTES:
            continue
        data = path.read_bytes()
        for number, first in enumerate(range(0, len(data), MOST_BYTES), start=1):
            with replacing(path.with_name(f"{path.name}.part{number}")) as partial:
                partial.write_bytes(data[first : first + MOST_BYTES])
        path.unlink()


def _write(path: Path, value: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _report(folder: Path, result: dict[str, Any]) -> int:
    """The table, and one JSON line last."""
    for path in sorted(folder.iterdir()):
        print(f"{path.name:52} {path.stat().st_size / 1e6:8.2f} MB")
    failed = [name for name, step in result["steps"].items() if step["status"] != "done"]
    print(f"{folder}: bring it home and run `lab adopt {folder.name}`")
    print(json.dumps({"out": str(folder), "seconds": result["seconds"], "not_done": failed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
