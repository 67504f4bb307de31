"""What finding the paper costs: an upright scan, and a phone's photo of 12 MP.

    python benchmarks/photos.py --threads 2

`scan` compares reading the sample pages with reading them as they are: the network and the language
model alone, without looking for paper, columns and size first. Both take turns; the ratios are
those of the medians, by the clock and of processor time, which other programs change less. `photo`
reads a page on a desk from a JPEG file, in a separate process whose peak memory is measured.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from text_recognizer.images import load_image
from text_recognizer.pages import kinds
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES
from text_recognizer.side_by_side import read_side_by_side

LIMITS = {"scan_ratio": 1.05, "photo_seconds": 1.5, "photo_peak_mb": 1000.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photo", type=Path, help=argparse.SUPPRESS)  # for the child process
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.photo:
        print(json.dumps(read_photo(options.photo, options.rounds)))
        return 0
    found = scans(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        photo = make_photo(Path(folder) / "photo.jpg")
        command = [sys.executable, __file__, "--photo", str(photo)]
        command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found |= json.loads(done.stdout.splitlines()[-1])
    targets = {
        name: {"value": found[name], "limit": limit, "met": found[name] <= limit}
        for name, limit in LIMITS.items()
    }
    print(json.dumps({"benchmark": "photos", **found, "targets": targets}))
    return 0


def scans(rounds: int) -> dict[str, float]:
    """Seconds a page of the sample pages, with and without what is done before the finder."""
    recognizer = ParagraphTextRecognizer()
    pages = [load_image(path) for path in sorted(SAMPLE_PAGES.glob("show_*.jpg"))]
    ways = {"with": recognizer.read, "without": lambda page: read_as_it_is(recognizer, page)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, read in ways.items():
            both = [timed(read, page) for page in pages]
            if number:  # the first round warms up
                taken[name].append(tuple(sum(column) for column in zip(*both, strict=True)))
    clock, cpu = (
        {name: statistics.median(one[at] for one in rows) for name, rows in taken.items()}
        for at in (0, 1)
    )
    return {
        "scan_seconds": clock["with"] / len(pages),
        "scan_ratio": clock["with"] / clock["without"],
        "scan_processor_ratio": cpu["with"] / cpu["without"],
    }


def read_as_it_is(recognizer: ParagraphTextRecognizer, page) -> list[str]:
    """The texts of a page's lines, by the network and the language model alone."""
    with torch.inference_mode():
        readings, _ = read_side_by_side(
            recognizer.model, *recognizer.to_tensors([page]), twice=True
        )
    return recognizer._decoder.page(readings)


def timed(read: Callable, page) -> tuple[float, float]:
    """Seconds by the clock, and of processor time."""
    clock, cpu = time.perf_counter(), time.process_time()
    read(page)
    return time.perf_counter() - clock, time.process_time() - cpu


def make_photo(path: Path) -> Path:
    """A sample page on a desk, of which it takes 60 % of the width."""
    page = Image.open(SAMPLE_PAGES / "show_font_000.jpg").convert("L")
    kinds.desk(np.random.default_rng(1), page, 0.6).save(path, quality=88)
    return path


def read_photo(path: Path, rounds: int) -> dict[str, float]:
    """The median of some readings, and this process's peak memory."""
    recognizer = ParagraphTextRecognizer()
    recognizer.read(path)
    taken = [timed(recognizer.read, path) for _ in range(rounds)]
    return {
        "photo_seconds": statistics.median(clock for clock, _ in taken),
        "photo_processor_seconds": statistics.median(cpu for _, cpu in taken),
        "photo_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


if __name__ == "__main__":
    sys.exit(main())
