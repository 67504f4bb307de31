"""How long a model takes from data to text: each link of `lab run`, and how large its files are.

A newcomer's first command is `make run`: after the set-up it should take less than 90 s on two
cores. Each round starts with an empty tracker, in a process of its own, as a newcomer's does.

Run it on an otherwise idle machine:

    python benchmarks/hand_off.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from text_recognizer.places import project_folder

MOST_SECONDS = 90.0
MOST_RATIO = 0.4  # bytes of the TorchScript file to those of the checkpoint

ROUND = """
import json
from lab_utils import staging
done = staging.hand_off()
print(json.dumps({
    "links": done.seconds,
    "checkpoint_bytes": done.trained.size,
    "torchscript_bytes": done.staged.size,
    "mean_cer": sum(page.cer for page in done.pages) / len(done.pages),
    "modules_at_the_end": done.modules,
}))
"""


def one_round() -> dict:
    """One hand-off from start to end; raises CalledProcessError where it fails."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "LAB_"))}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", ROUND],
            cwd=project_folder(),
            env=keep | {"LAB_HOME": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - start
    return json.loads(done.stdout) | {"seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rounds = [one_round() for _ in range(options.rounds)]
    links = {
        link: round(statistics.median(one["links"][link] for one in rounds), 2)
        for link in rounds[0]["links"]
    }
    for link, seconds in links.items():
        print(f"{link:<24}{seconds:>8.2f} s")
    last = rounds[-1]
    seconds = statistics.median(one["seconds"] for one in rounds)
    ratio = last["torchscript_bytes"] / last["checkpoint_bytes"]
    print(f"{'all, with imports':<24}{seconds:>8.2f} s")
    print(f"{'TorchScript/checkpoint':<24}{ratio:>8.2f}")
    result = {
        "benchmark": "hand_off",
        "seconds": round(seconds, 1),
        "links": links,
        "checkpoint_bytes": last["checkpoint_bytes"],
        "torchscript_bytes": last["torchscript_bytes"],
        "ratio": round(ratio, 3),
        "mean_cer": round(last["mean_cer"], 4),
        "modules_at_the_end": last["modules_at_the_end"],
        "load_average": round(os.getloadavg()[0], 1),
        "reached": seconds < MOST_SECONDS and ratio <= MOST_RATIO,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
