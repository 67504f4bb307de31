"""The tracker that runs are logged to: W&B's, or the lab's own with its data."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from lab_tracker import environment
from lab_utils.doctor.finding import Finding, fix, ok
from text_recognizer.places import lab_folder

DATABASE = "tracking.sqlite"


def check_tracker() -> Finding:
    """Which tracker is used; for the lab's own, whether its database can be read."""
    if environment.has_real_key():
        address = os.environ.get("WANDB_BASE_URL", "https://wandb.ai")
        found = f"{_shown(address)}, since WANDB_API_KEY is set (not shown, not tested)"
        return ok("tracker", found)
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


def _shown(address: str) -> str:
    """Without the user and the password that an address may contain."""
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
