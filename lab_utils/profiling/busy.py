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

from lab_utils.process import kept
from text_recognizer.places import PROJECT

READ = """
import json, os, sys, time
project, members, repeats, *pages = sys.argv[1:]
sys.path.insert(0, project)
if members:
    open(members, "w").write(str(os.getpid()))
from lab_utils.model import packaged_recognizer
recognizer = packaged_recognizer(language_model="none")
seconds = []
for _ in range(2 + int(repeats)):
    for page in pages:
        start = time.perf_counter()
        recognizer.predict(page)
        seconds.append(time.perf_counter() - start)
print(json.dumps(seconds[2 * len(pages) :]))
"""
"""A separate process: OpenMP reads its policy only once. The first two rounds warm up."""


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but use a processor."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(kept([sys.executable, "-c", "while True: pass"]))
        time.sleep(0.5 if count else 0.0)  # until they run
        yield


def seconds_a_page(
    policy: str,
    pages: Sequence[Path],
    repeats: int = 3,
    limit: float = 600.0,
    members: Path | None = None,
) -> float | str:
    """The median seconds of a page, read by a new process without the language model.

    Args:
        policy: OMP_WAIT_POLICY, "passive" or "active".
        repeats: of each page, after two readings that warm up.
        limit: s for the process; a text says so if it takes longer, or fails.
        members: a control group's file of processes, which the process joins before it loads.
    """
    # An active wait has no limit with Intel's OpenMP, and is the default of GNU's.
    block_time = "0" if policy == "passive" else "200"
    environment = {**os.environ, "OMP_WAIT_POLICY": policy, "KMP_BLOCKTIME": block_time}
    environment.pop("OMP_NUM_THREADS", None)
    arguments = [sys.executable, "-c", READ, PROJECT, members or "", str(repeats), *pages]
    try:
        done = subprocess.run(
            list(map(str, arguments)),
            env=environment,
            capture_output=True,
            timeout=limit,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f} s"
    if done.returncode != 0:
        return f"failed: {done.stderr.strip()[-80:]}"
    return round(statistics.median(json.loads(done.stdout.splitlines()[-1])), 4)
