"""How much faster does `lab read` read a folder with several processes than one page at a time?

The folder holds the sample pages, the first of them again until there are enough. It is read by new
processes, one way after the other in each round; the best round of each way counts. Each time is
the whole command's, with its start. The ways: one page at a time with OpenMP's own number of
threads, the same with one thread, and `--jobs`. Run it on an otherwise idle machine.

    python benchmarks/read_folder.py --pages 100 --rounds 3
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from text_recognizer.places import SAMPLE_PAGES, project_folder
from text_recognizer.threads import usable_processors

TARGET = 1.7  # times the pages/s of one at a time, on two processors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=usable_processors())
    options = parser.parse_args()
    ways = {
        "one at a time": (1, usable_processors()),
        "one at a time, one thread": (1, 1),
        f"{options.jobs} jobs": (options.jobs, 1),
    }
    seconds = {name: [] for name in ways}
    texts = set()
    with tempfile.TemporaryDirectory() as folder:
        samples = itertools.cycle(sorted(SAMPLE_PAGES.glob("*.jpg")))
        for number, page in enumerate(itertools.islice(samples, options.pages)):
            (Path(folder) / f"{number:04}.jpg").symlink_to(page)
        for _ in range(options.rounds):
            for name, way in ways.items():
                taken, text = read(folder, *way)
                seconds[name].append(taken)
                texts.add(text)
    rates = {name: options.pages / min(taken) for name, taken in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:28}{rate:8.2f} pages/s")
    one, _, several = rates.values()
    result = {
        "processors": usable_processors(),
        "pages": options.pages,
        "pages_per_second": rates,
        "gain": several / one,
        "met": several / one >= TARGET,
        "same_texts": len(texts) == 1,
    }
    print(json.dumps(result))
    return 0


def read(folder: str, jobs: int, threads: int) -> tuple[float, str]:
    """Seconds that `lab read` takes for a folder, and what it prints."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lab_utils.cli", "read", folder, "--jobs", str(jobs)],
        cwd=project_folder(),
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    sys.exit(main())
