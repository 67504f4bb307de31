"""How soon does the service's first answer come, and what do its parts cost once it is warm?

Lambda starts a process for a request that finds no idle one, so somebody waits for that process:
for the interpreter, the imports, the model and the first reading. It runs as in the image, where
there are only torch and Pillow. The rival is the same handler over the Lightning checkpoint that
the TorchScript file was made from, and so with Lightning and what that imports. Both, and the
handler within AWS's emulator beside all packages of the lab, take turns, each in a new process;
times are medians.

Warm, the same page is read in this process and through handler, emulator and gateway by turns;
what they add is the median of the differences.

Run it on an otherwise idle machine:

    python benchmarks/cold_start.py
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from text_recognizer.places import SAMPLE_PAGES, project_folder

MOST_SECONDS = 3.5  # from the start of the process to the first answer
MOST_RATIO = 0.5  # of that to the same with the checkpoint
MOST_OVERHEAD_MS = 30.0
THREADS = "1"  # a second one gains little on single pages
WARM_UP = 4  # TorchScript is still being optimized in the first runs

PAGE = SAMPLE_PAGES / "show_font_000.jpg"

# Each prints the seconds since it was asked for at which it was running, had imported what it
# needs, had the model, and had the first answer.
TORCHSCRIPT = """
import sys, time
marks = [time.time()]
from lab_utils.service.lambda_entry import handler
from lab_utils.service.lambda_handler import load
marks.append(time.time() - load().load_seconds)
"""
CHECKPOINT = """
import os, sys, time
from pathlib import Path
marks = [time.time()]
from lab_utils.service.lambda_handler import LambdaHandler
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.train.checkpoint import load_reader_checkpoint
from text_recognizer import vocabulary
import torch
marks.append(time.time())

class Eager(ParagraphTextRecognizer):
    def __init__(self, path):
        self.device, self.allow_private_addresses = torch.device("cpu"), False
        self.max_batch = 1
        self.model = load_reader_checkpoint(path).paragraph_reader().eval()
        self._tokens, self._ignored = list(vocabulary.TOKENS), set(vocabulary.IGNORED)
        self._decoder = self._load_decoder("auto")

path = Path(os.environ["LAB_MODEL"])
handler = LambdaHandler(Eager(path), path)
"""
ANSWER = """
marks.append(time.time())
import base64, json
answer = handler({"image": base64.b64encode(open(sys.argv[1], "rb").read()).decode()})
marks.append(time.time())
print(json.dumps({"marks": [mark - float(sys.argv[2]) for mark in marks], **answer}))
"""
PHASES = ("interpreter", "imports", "model", "first answer")


def link_packages(folder: Path, *names: str) -> Path:
    """Fills a folder with links to installed packages and to all that these require."""
    wanted, seen = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        package = distribution(name)
        for place in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            (folder / place).symlink_to(package.locate_file(place))
        requirements = map(Requirement, package.requires or ())
        wanted += [one.name for one in requirements if not one.marker or one.marker.evaluate()]
    return folder


def cold(code: str, model: Path, packages: Path | None = None) -> dict:
    """Phases in s of a new process up to its first answer, and what it read.

    Args:
        code: makes `handler` and notes `marks`.
        model: file for it.
        packages: the only packages that it finds; None for all that are installed.
    """
    environment = os.environ | {"LAB_MODEL": str(model), "OMP_NUM_THREADS": THREADS}
    places = [project_folder(), *([packages] if packages else [])]
    environment["PYTHONPATH"] = os.pathsep.join(map(str, places))
    start = time.time()
    done = subprocess.run(
        [sys.executable, *(["-S"] if packages else []), "-c", code + ANSWER, str(PAGE), str(start)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"The process failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    marks = [0.0, *found["marks"]]
    phases = [later - earlier for earlier, later in zip(marks, marks[1:], strict=False)]
    phases = dict(zip(PHASES, phases, strict=True))
    return {"seconds": marks[-1], "phases": phases, "text": found["pred"]}


def cold_emulator(model: Path) -> dict:
    """Seconds from the start of AWS's emulator to the first answer, and what was read."""
    from lab_utils.service.emulator import Emulator

    os.environ["OMP_NUM_THREADS"] = THREADS  # the function's too
    event = json.dumps({"image": base64.b64encode(PAGE.read_bytes()).decode()}).encode()
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(model, log=Path(folder, "log"))
        start = time.perf_counter()
        try:
            reply = emulator.invoke(event)
            seconds = time.perf_counter() - start
        finally:
            emulator.stop()
    return {"seconds": seconds, "text": json.loads(reply.body)["pred"]}


def warm(model: Path, pages: int) -> dict:
    """Milliseconds for a page here and through the service, and what the service adds, as p50s."""
    os.environ["OMP_NUM_THREADS"] = THREADS
    import torch

    from lab_utils.net import http_client
    from lab_utils.service.local import lambda_service
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    torch.set_num_threads(int(THREADS))
    recognizer = ParagraphTextRecognizer(model)
    image = PAGE.read_bytes()
    body = json.dumps({"image": base64.b64encode(image).decode()})
    here, there = [], []
    with lambda_service(model) as gateway:
        client = http_client(60, local=True)
        for _ in range(WARM_UP + pages):
            start = time.perf_counter()
            text = recognizer.predict(image)
            here.append(time.perf_counter() - start)
            start = time.perf_counter()
            answer = client.post(
                gateway.url, content=body, headers={"Content-Type": "application/json"}
            ).json()
            there.append(time.perf_counter() - start)
            if answer != {"pred": text}:
                raise SystemExit(f"The service read something else: {answer}")
        client.close()
    added = [t - h for h, t in zip(here, there, strict=True)]
    return {
        name: statistics.median(seconds[WARM_UP:]) * 1e3
        for name, seconds in (("predict", here), ("service", there), ("overhead", added))
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="new processes of each kind")
    parser.add_argument("--pages", type=int, default=60, help="pages read warm")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, script = Path(folder, "reader.ckpt"), Path(folder, "reader.pt")
        make_models(checkpoint, script)
        packages = Path(folder, "packages")
        packages.mkdir()
        link_packages(packages, "torch", "pillow")
        contestants = {
            "torchscript": lambda: cold(TORCHSCRIPT, script, packages),
            "checkpoint": lambda: cold(CHECKPOINT, checkpoint),
            "emulator": lambda: cold_emulator(script),
        }
        if options.rounds > 1:  # the files are in memory from here on
            for contestant in contestants.values():
                contestant()
        runs: dict[str, list[dict]] = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, contestant in contestants.items():
                runs[name].append(contestant())
        texts = {run["text"] for several in runs.values() for run in several}
        if len(texts) != 1:
            raise SystemExit(f"The models read different texts: {texts}")
        service = warm(script, options.pages)
    seconds = {n: statistics.median(run["seconds"] for run in found) for n, found in runs.items()}
    phases = {
        name: {
            phase: round(statistics.median(run["phases"][phase] for run in runs[name]), 3)
            for phase in PHASES
        }
        for name in ("torchscript", "checkpoint")
    }
    print(f"{'s':<14}{'first answer':>14}" + "".join(f"{phase:>14}" for phase in PHASES))
    for name, value in seconds.items():
        parts = phases.get(name, {})
        print(f"{name:<14}{value:>14.2f}" + "".join(f"{parts[p]:>14.2f}" for p in parts))
    print(
        f"warm, ms: predict {service['predict']:.1f}, through the service "
        f"{service['service']:.1f}, added {service['overhead']:.1f}"
    )
    ratio = seconds["torchscript"] / seconds["checkpoint"]
    result = {
        "benchmark": "cold_start",
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "phases": phases,
        "ratio": round(ratio, 3),
        "warm_ms": {name: round(value, 1) for name, value in service.items()},
        "rounds": options.rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "targets": {
            "cold_seconds": {"most": MOST_SECONDS, "met": seconds["torchscript"] <= MOST_SECONDS},
            "emulator_seconds": {"most": MOST_SECONDS, "met": seconds["emulator"] <= MOST_SECONDS},
            "ratio": {"most": MOST_RATIO, "met": ratio <= MOST_RATIO},
            "overhead_ms": {
                "most": MOST_OVERHEAD_MS,
                "met": service["overhead"] <= MOST_OVERHEAD_MS,
            },
        },
    }
    print(json.dumps(result))
    return 0


def make_models(checkpoint: Path, script: Path) -> None:
    """A checkpoint of a short training with Lightning, and the TorchScript file made from it.

    In a process of its own: what that imports must not be shared with the contestants.
    """
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from text_recognizer.train.fine_tune import train_briefly\n"
        "from text_recognizer.train.checkpoint import load_reader_checkpoint\n"
        "checkpoint = train_briefly(Path(sys.argv[1]), steps=1)\n"
        "load_reader_checkpoint(checkpoint).to_torchscript(sys.argv[2])\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(checkpoint), str(script)],
        env=os.environ | {"PYTHONPATH": str(project_folder())},
        stdout=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
