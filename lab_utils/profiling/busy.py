"""How long a page takes beside other work: the case of a container and of a busy machine."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

from lab_utils.model import packaged_model
from lab_utils.process import kept
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import PROJECT

SIDE_BY_SIDE = "side by side"
WAYS = (SIDE_BY_SIDE, "passive", "active")
"""Each line has one thread; or all threads share each operator, and wait asleep or in a loop."""
WARM_UPS = 2
"""Readings of each page that are not counted."""


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but use a processor."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(kept([sys.executable, "-c", "while True: pass"]))
        time.sleep(0.5 if count else 0.0)  # until they run
        yield


def seconds_a_page(
    way: str,
    pages: Sequence[Path],
    repeats: int = 3,
    limit: float = 600.0,
    members: Path | None = None,
) -> float | str:
    """The median seconds of a page, read by a new process without the language model: OpenMP reads
    its policy only once.

    Args:
        way: one of WAYS.
        repeats: of each page, after two readings that warm up.
        limit: s for the process; a text says so if it takes longer, or fails.
        members: a control group's file of processes, which the process joins before it loads.
    """
    policy = "active" if way == "active" else "passive"
    # An active wait has no limit with Intel's OpenMP, and is the default of GNU's.
    block_time = "0" if policy == "passive" else "200"
    environment = {**os.environ, "OMP_WAIT_POLICY": policy, "KMP_BLOCKTIME": block_time}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-m", "lab_utils.profiling.busy", way, str(packaged_model())]
    command += [str(Path(page).absolute()) for page in pages] * (WARM_UPS + repeats)
    if members:
        command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(members), *command]
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, timeout=limit, text=True
        )
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f} s"
    if done.returncode != 0:
        return f"failed: {done.stderr.strip()[-80:]}"
    return round(statistics.median(json.loads(done.stdout)[WARM_UPS * len(pages) :]), 4)


def main(way: str, model: str, *pages: str) -> None:
    """Prints the seconds of each page as JSON."""
    recognizer = ParagraphTextRecognizer(model, language_model="none")
    if way != SIDE_BY_SIDE:
        # A model that reads whole pages, and not some of their lines, is left to PyTorch's threads.
        recognizer.model = SimpleNamespace(read_lines=recognizer.model.read_lines)
    print(json.dumps([recognizer.read(page).seconds for page in pages]))


if __name__ == "__main__":
    main(*sys.argv[1:])
