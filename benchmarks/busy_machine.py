"""What does other work on the machine do to reading, and what do threads that sleep change?

OpenMP's threads can wait for each other in a busy loop (OMP_WAIT_POLICY=active) or asleep
(passive, the lab's default). This script measures the first reading of pages, without the language
model, on an idle machine, beside one and two busy loops for each processor, and in a control group
with a quota of one processor, as a container has. Each number is from a process of its own.

    python benchmarks/busy_machine.py --pages 4 --repeats 5

The group is made below /sys/fs/cgroup and removed again; without the right to do so, which needs
root, its rows say so. Prints a table and one JSON line last. Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_utils.process import kept
from text_recognizer.threads import WAIT_POLICIES, usable_processors

CGROUPS = Path("/sys/fs/cgroup")
GROUP = f"lab-busy-machine-{os.getpid()}"
PERIOD = 100_000
"""µs, within which a quota counts."""
READ = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
if sys.argv[2]:
    open(sys.argv[2], "w").write(str(os.getpid()))
from lab_utils.loading import load_recognizer
recognizer = load_recognizer(quiet=True, language_model="none")
pages, seconds = sys.argv[4:], []
for page in pages:
    recognizer.predict(page)
    recognizer.predict(page)
for _ in range(int(sys.argv[3])):
    for page in pages:
        start = time.perf_counter()
        recognizer.predict(page)
        seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=4, help="sample pages")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600.0, help="limit of one process")
    options = parser.parse_args()
    project = Path(__file__).resolve().parents[1]
    pages = sorted((project / "data" / "pages").glob("show_font_*.jpg"))[: options.pages]
    command = [str(options.repeats), *map(str, pages)]
    found: dict[str, dict[str, float | str]] = {}
    cores = usable_processors()
    print(f"{cores} processors; s a page, median")
    print(f"{'':34}{'passive':>10}{'active':>10}")
    for name, loops in (("idle", 0), ("one busy loop each", 1), ("two busy loops each", 2)):
        with busy_loops(loops * cores):
            found[name] = {
                policy: _seconds(project, policy, None, command, options.seconds)
                for policy in WAIT_POLICIES
            }
        _print(name, found[name])
    name = "a quota of one processor"
    found[name] = {}
    for policy in WAIT_POLICIES:
        try:
            with quota_of_one() as members:
                found[name][policy] = _seconds(project, policy, members, command, options.seconds)
        except OSError as error:
            found[name][policy] = f"not permitted ({error.strerror})"
    _print(name, found[name])
    print(json.dumps({"processors": cores, "pages": len(pages), "seconds_a_page": found}))
    return 0


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but use a processor."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(kept([sys.executable, "-c", "while True: pass"]))
        time.sleep(0.5 if count else 0.0)  # until they run
        yield


@contextlib.contextmanager
def quota_of_one() -> Iterator[Path]:
    """A control group with one processor's time; gives the file that takes members.

    Raises OSError where the group can't be made.
    """
    version_2 = (CGROUPS / "cgroup.controllers").is_file()
    group = (CGROUPS if version_2 else CGROUPS / "cpu") / GROUP
    group.mkdir()
    try:
        if version_2:
            (group / "cpu.max").write_text(f"{PERIOD} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(PERIOD))
        yield group / "cgroup.procs"
    finally:
        for _ in range(50):  # a group can be removed once its processes are gone
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def _seconds(
    project: Path, policy: str, members: Path | None, command: list[str], limit: float
) -> float | str:
    """The median seconds of a page, read by a process with a wait policy."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    # An active wait has no limit with Intel's OpenMP, and is the default of GNU's.
    environment["KMP_BLOCKTIME"] = "0" if policy == "passive" else "200"
    environment.pop("OMP_NUM_THREADS", None)
    arguments = [sys.executable, "-c", READ, str(project), str(members or ""), *command]
    try:
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f} s"
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1][:80] if done.stderr.strip() else "failed"
    return round(statistics.median(json.loads(done.stdout.splitlines()[-1])), 4)


def _print(name: str, row: dict[str, float | str]) -> None:
    cells = [row[policy] for policy in ("passive", "active")]
    told = [f"{cell:10.3f}" if isinstance(cell, float) else f"{cell:>10}" for cell in cells]
    print(f"{name:34}{''.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
