"""What does other work on the machine do to reading, and what do the threads change?

The lab reads lines side by side, each with one thread. PyTorch's own threads share each operator,
and wait for each other asleep (OMP_WAIT_POLICY=passive) or in a busy loop (active). This script
measures the first reading of pages, without the language model, on an idle machine, beside one and
two busy loops for each processor, and in a control group with a quota of one processor, as a
container has. Each number is from a process of its own.

    python benchmarks/busy_machine.py --pages 4 --repeats 5

The group is made below /sys/fs/cgroup and removed again; without the right to do so, which needs
root, its rows say so. Prints a table and one JSON line last. Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab_utils.profiling.busy import WAYS, busy_loops, seconds_a_page
from text_recognizer.threads import usable_processors

CGROUPS = Path("/sys/fs/cgroup")
GROUP = f"lab-busy-machine-{os.getpid()}"
PERIOD = 100_000
"""µs, within which a quota counts."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=4, help="sample pages")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600.0, help="limit of one process")
    options = parser.parse_args()
    project = Path(__file__).resolve().parents[1]
    pages = sorted((project / "data" / "pages").glob("show_font_*.jpg"))[: options.pages]
    settings = (pages, options.repeats, options.seconds)
    found: dict[str, dict[str, float | str]] = {}
    cores = usable_processors()
    print(f"{cores} processors; s a page, median")
    print(f"{'':34}" + "".join(f"{way:>14}" for way in WAYS))
    for name, loops in (("idle", 0), ("one busy loop each", 1), ("two busy loops each", 2)):
        with busy_loops(loops * cores):
            found[name] = {way: seconds_a_page(way, *settings) for way in WAYS}
        _print(name, found[name])
    name = "a quota of one processor"
    found[name] = {}
    for way in WAYS:
        try:
            with quota_of_one() as members:
                found[name][way] = seconds_a_page(way, *settings, members)
        except OSError as error:
            found[name][way] = f"not permitted ({error.strerror})"
    _print(name, found[name])
    print(json.dumps({"processors": cores, "pages": len(pages), "seconds_a_page": found}))
    return 0


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


def _print(name: str, row: dict[str, float | str]) -> None:
    cells = [row[way] for way in WAYS]
    shown = [f"{cell:14.3f}" if isinstance(cell, float) else f"{cell:>14}" for cell in cells]
    print(f"{name:34}{''.join(shown)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
