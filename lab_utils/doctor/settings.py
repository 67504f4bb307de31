"""Settings that stop the lab, or a library that it uses, from working, and the tracker."""

import importlib.util
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lab_tracker import environment
from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.staging import settings
from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder
from text_recognizer.threads import check_thread_settings

DATABASE = "tracking.sqlite"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def check_wandb() -> Finding:
    """The variables of the wandb SDK."""
    if (found := settings.problem()) is not None:
        return fix("wandb", *found)
    return ok("wandb", "no variable stops runs from reaching the tracker")


def check_proxies() -> Finding:
    """The proxies for outgoing requests; their addresses may contain passwords."""
    named = [name for name in PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    if not named:
        return ok("proxies", "none are set")
    values = [os.environ.get(name) or os.environ[name.lower()] for name in named]
    socks = any(value.startswith("socks") for value in values)
    if socks and importlib.util.find_spec("socksio") is None:
        found = f"{', '.join(named)}: a SOCKS proxy, which the HTTP client can't use yet"
        return fix("proxies", found, "pip install socksio, or unset it")
    return note(
        "proxies",
        f"{', '.join(named)}: used only for requests that leave this machine",
        "NO_PROXY=localhost,127.0.0.1 if something local can't be reached",
    )


def check_threads() -> Finding:
    """The settings of OpenMP, which PyTorch's threads follow."""
    try:
        check_thread_settings()
    except RecognizerError as error:
        return fix("threads", str(error), "change it, or unset it")
    waits = os.environ.get("OMP_WAIT_POLICY", "passive")
    if waits.strip().lower() == "active":
        found = "OMP_WAIT_POLICY=active: threads spin, which is slow next to other programs"
        return note("threads", found, "unset OMP_WAIT_POLICY")
    return ok("threads", "threads sleep while they wait for each other")


def check_tracker() -> Finding:
    """Which tracker is used; for the lab's own, whether its database can be read."""
    if environment.has_real_key():
        return ok("tracker", "W&B, since WANDB_API_KEY is set (not shown, not tested)")
    folder = environment.tracker_folder() or lab_folder() / "wandb"
    database = folder / DATABASE
    if not database.exists():
        return ok("tracker", f"the lab's own; it will keep its data in {folder}")
    try:
        runs = _count_runs(database)
    except (sqlite3.Error, OSError) as error:
        found = f"the lab's own cannot read {database} ({error})"
        return fix("tracker", found, f"move it away: mv '{folder}' '{folder}-broken'")
    if not os.access(folder, os.W_OK):
        return fix("tracker", f"the lab's own cannot write {folder}", f"chmod u+w '{folder}'")
    return ok("tracker", f"the lab's own, {runs} runs in {folder}")


def _count_runs(database: Path) -> int:
    # If no server runs, it is opened as immutable. Otherwise SQLite would create the files of its
    # write-ahead log next to it.
    in_use = database.with_name(f"{DATABASE}-wal").exists()
    address = f"{database.absolute().as_uri()}?mode=ro{'' if in_use else '&immutable=1'}"
    with closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
        connection.execute("PRAGMA query_only = 1")
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]
