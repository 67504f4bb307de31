"""The machine, and the settings that stop the lab, or a library that it uses, from working."""

import importlib.util
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from lab_tracker import environment
from lab_tracker.wording import counted
from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.staging import settings
from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder
from text_recognizer.threads import check_thread_settings, usable_processors

GIB = 2**30
LEAST_MEMORY, ENOUGH_MEMORY = 1.0, 3.0
"""GiB free: for `lab run`, and for notebooks and tests at the same time."""
LEAST_DISK, ENOUGH_DISK = 0.5, 5.0
"""GiB: for what `lab run` writes, and for caches, a training and an image."""

DATABASE = "tracking.sqlite"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

_CGROUP = Path("/sys/fs/cgroup")


def check_memory() -> Finding:
    """Memory that programs can still have, within the container's limit."""
    free = free_memory()
    if free is None:
        return note("this system does not say how much is free", "make sure that 3 GiB are free")
    return _amount(free, LEAST_MEMORY, ENOUGH_MEMORY, "run one thing at a time")


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


def check_load() -> Finding:
    """Whether other programs leave the lab a processor."""
    processors, load = usable_processors(), os.getloadavg()[0]
    found = f"a load of {load:.1f} on {processors} processors"
    if load > processors:
        return note(found, "everything takes longer until other programs end")
    return ok(found)


def check_folder() -> Finding:
    """The one folder that the lab writes to."""
    folder = lab_folder()
    existing = _existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return fix(f"{folder} is not writable", "set LAB_HOME to another folder")
    return ok(f"everything is written to {folder}")


def check_disk() -> Finding:
    """Space on the disk of that folder."""
    free = shutil.disk_usage(_existing(lab_folder())).free / GIB
    return _amount(free, LEAST_DISK, ENOUGH_DISK, "lab cleanup --keep 3 --yes")


def _amount(free: float, least: float, enough: float, advice: str) -> Finding:
    found = f"{free:.1f} GiB are free"
    if free < least:
        return fix(found, f"free some: `lab run` needs {least} GiB")
    return ok(found) if free >= enough else note(found, advice)


def _existing(path: Path) -> Path:
    """The path, or the first of the folders around it that is there."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def check_wandb() -> Finding:
    """The variables of the wandb SDK."""
    if (found := settings.problem()) is not None:
        return fix(*found)
    return ok("no variable stops runs from reaching the tracker")


def check_proxies() -> Finding:
    """The proxies for outgoing requests; their addresses may contain passwords."""
    values = {name: os.environ.get(name) or os.environ.get(name.lower(), "") for name in PROXIES}
    named = ", ".join(filter(values.get, PROXIES))
    if not named:
        return ok("none are set")
    socks = any(value.startswith("socks") for value in values.values())
    if socks and importlib.util.find_spec("socksio") is None:
        found = f"{named}: a SOCKS proxy, which the HTTP client can't use yet"
        return fix(found, "pip install socksio, or unset it")
    return note(
        f"{named}: used only for requests that leave this machine",
        "NO_PROXY=localhost,127.0.0.1 if something local can't be reached",
    )


def check_threads() -> Finding:
    """The settings of OpenMP, which PyTorch's threads follow."""
    try:
        check_thread_settings()
    except RecognizerError as error:
        return fix(str(error), "change it, or unset it")
    if os.environ.get("OMP_WAIT_POLICY", "").strip().lower() == "active":
        found = "OMP_WAIT_POLICY=active: threads spin, which is slow next to other programs"
        return note(found, "unset OMP_WAIT_POLICY")
    return ok("threads sleep while they wait for each other")


def check_tracker() -> Finding:
    """Which tracker is used; for the lab's own, whether its database can be read."""
    if environment.has_real_key():
        return ok("W&B, since WANDB_API_KEY is set (not shown, not tested)")
    folder = environment.tracker_folder(lab_folder() / "wandb")
    database = folder / DATABASE
    if not database.exists():
        return ok(f"the lab's own; it will keep its data in {folder}")
    try:
        runs = _count_runs(database)
    except (sqlite3.Error, OSError) as error:
        found = f"the lab's own cannot read {database} ({error})"
        return fix(found, f"move it away: mv '{folder}' '{folder}-broken'")
    if not os.access(folder, os.W_OK):
        return fix(f"the lab's own cannot write {folder}", f"chmod u+w '{folder}'")
    return ok(f"the lab's own, {counted(runs, 'run')} in {folder}")


def _count_runs(database: Path) -> int:
    # If no server runs, it is opened as immutable. Otherwise SQLite would create the files of its
    # write-ahead log next to it.
    in_use = database.with_name(f"{DATABASE}-wal").exists()
    address = f"{database.absolute().as_uri()}?mode=ro{'' if in_use else '&immutable=1'}"
    with closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]
