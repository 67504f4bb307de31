"""The machine: memory, disk, and the folder that is written to."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from lab_utils.doctor.finding import Finding, fix, note, ok
from text_recognizer.places import lab_folder

GIB = 2**30
LEAST_MEMORY, ENOUGH_MEMORY = 1.0, 3.0
"""GiB free: for `lab run`, and for notebooks and tests at the same time."""
LEAST_DISK, ENOUGH_DISK = 0.5, 5.0
"""GiB: for what `lab run` writes, and for caches, a training and an image."""

_CGROUP = Path("/sys/fs/cgroup")


def check_memory() -> Finding:
    """Memory that programs can still have, within the container's limit."""
    free = free_memory()
    if free is None:
        return note(
            "memory", "this system does not say how much is free", "make sure that 3 GiB are free"
        )
    found = f"{free:.1f} GiB are free"
    if free < LEAST_MEMORY:
        return fix("memory", found, f"end other programs: `lab run` needs {LEAST_MEMORY:.0f} GiB")
    if free < ENOUGH_MEMORY:
        return note("memory", found, "run one thing at a time")
    return ok("memory", found)


def free_memory() -> float | None:
    """GiB, or None if the system does not report it (Linux does)."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        [available] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        found.append(int(available) * 1024 / GIB)
    with suppress(OSError, ValueError):  # "max" if the container has no limit
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        stat = (line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        reclaimable = int(dict(stat).get("inactive_file", 0))
        found.append((limit - used + reclaimable) / GIB)
    return min(found) if found else None


def check_folder() -> Finding:
    """The one folder that the lab writes to."""
    folder = lab_folder()
    existing = _existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return fix("folder", f"{folder} is not writable", "set LAB_HOME to another folder")
    return ok("folder", f"everything is written to {folder}")


def check_disk() -> Finding:
    """Space on the disk of that folder."""
    free = shutil.disk_usage(_existing(lab_folder())).free / GIB
    found = f"{free:.1f} GiB are free"
    if free < LEAST_DISK:
        return fix("disk", found, f"free some: `lab run` needs {LEAST_DISK} GiB")
    if free < ENOUGH_DISK:
        return note("disk", found, "lab cleanup --keep 3 --yes, or free some")
    return ok("disk", found)


def _existing(path: Path) -> Path:
    """The path, or the first of the folders around it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
