"""Projects and runs: made by `wandb.init`, changed by config and summary, listed with filters."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lab_tracker.errors import NotFoundError
from lab_tracker.names import checked_name, checked_object
from lab_tracker.storage import Store, now

ENTITY = "lab"  # owns runs that name no other entity
SILENT = timedelta(minutes=5)  # a running run that is silent for longer has crashed

# What `UpsertBucket` may change, and the column that holds it.
_TEXTS = {
    "display_name": "display_name",
    "notes": "notes",
    "description": "description",
    "group_name": "group_name",
    "job_type": "job_type",
    "host": "host",
    "job_program": "program",
    "commit": "commit_hash",
    "state": "state",
}


def project_of(store: Store, entity: str | None, name: str) -> sqlite3.Row | None:
    """The project, or None."""
    query = "SELECT * FROM projects WHERE entity = ? AND name = ?"
    return store.row(query, entity or ENTITY, name)


def project_by_id(store: Store, project_id: int) -> sqlite3.Row:
    """The project with this number, which exists."""
    return store.row("SELECT * FROM projects WHERE id = ?", project_id)


def make_project(store: Store, entity: str | None, name: str) -> sqlite3.Row:
    """The project, which is made if it is new."""
    entity = checked_name(entity or ENTITY, "An entity's name")
    name = checked_name(name, "A project's name")
    with store.write() as db:
        db.execute(
            "INSERT OR IGNORE INTO projects (entity, name, created_at) VALUES (?, ?, ?)",
            (entity, name, now()),
        )
        return project_of(store, entity, name)


def all_projects(store: Store, entity: str | None = None) -> list[sqlite3.Row]:
    """All projects, or those of an entity; the newest first."""
    where = "WHERE entity = ?" if entity else "WHERE ? IS NULL"
    return store.rows(f"SELECT * FROM projects {where} ORDER BY id DESC", entity)


def run_of(store: Store, project_id: int, name: str) -> sqlite3.Row | None:
    """The run with this id of W&B's kind (its name in the URL), or None."""
    return store.row("SELECT * FROM runs WHERE project_id = ? AND name = ?", project_id, name)


def run_by_id(store: Store, run_id: int) -> sqlite3.Row:
    """The run with this number. Raises NotFoundError."""
    if run := store.row("SELECT * FROM runs WHERE id = ?", run_id):
        return run
    raise NotFoundError("The run is not there; it may have been deleted.")


def find_run(store: Store, entity: str | None, project: str, name: str) -> sqlite3.Row:
    """The run of a project. Raises NotFoundError, which says which of the two is missing."""
    if not (found := project_of(store, entity, project)):
        raise NotFoundError(f"There is no project {entity or ENTITY}/{project}.")
    if not (run := run_of(store, found["id"], name)):
        raise NotFoundError(f"There is no run {entity or ENTITY}/{project}/{name}.")
    return run


def runs_of(store: Store, project_id: int) -> list[sqlite3.Row]:
    """The runs of a project, oldest first."""
    return store.rows("SELECT * FROM runs WHERE project_id = ? ORDER BY id", project_id)


def files_of(store: Store, run_id: int) -> list[sqlite3.Row]:
    """The files of a run with their `size` in bytes, by name."""
    query = "SELECT * FROM run_files JOIN blobs USING (digest) WHERE run_id = ? ORDER BY name"
    return store.rows(query, run_id)


def upsert_run(
    store: Store,
    run_id: int | None = None,
    *,
    entity: str | None = None,
    project: str | None = None,
    name: str | None = None,
    config: str | None = None,
    summary: str | None = None,
    tags: list[str] | None = None,
    **texts: str | None,
) -> tuple[sqlite3.Row, bool]:
    """Makes a run, or changes the one with this number or name: (the run, whether it is new).

    `config` and `summary` are JSON objects as text; of `texts`, the keys of `_TEXTS` count.
    """
    with store.write() as db:
        run, is_new = None, False
        if run_id is not None:
            run = run_by_id(store, run_id)
        else:
            name = checked_name(name, "A run's id")
            parent = make_project(store, entity, project or "uncategorized")
            run = run_of(store, parent["id"], name)
        if run is None:
            is_new = True
            time = now()
            db.execute(
                "INSERT INTO runs (project_id, name, display_name, created_at, heartbeat_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (parent["id"], name, name, time, time),
            )
            run = run_of(store, parent["id"], name)
        changes = {
            _TEXTS[key]: str(value) for key, value in texts.items() if key in _TEXTS and value
        }
        for column, text in (("config", config), ("summary", summary)):
            if text is not None:
                changes[column] = checked_object(text, column)
        if tags is not None:
            changes["tags"] = json.dumps([str(tag) for tag in tags])
        if not is_new and run_id is None and "state" not in changes:
            changes |= {"state": "running", "exit_code": None}  # resumed
        changes["heartbeat_at"] = now()
        store.update("runs", run["id"], changes)
    return run_by_id(store, run["id"]), is_new


def delete_run(store: Store, run_id: int, with_artifacts: bool) -> None:
    """Deletes a run with its files; its artifacts stay, unless `with_artifacts`."""
    with store.write() as db:
        run_by_id(store, run_id)
        if with_artifacts:
            db.execute("DELETE FROM artifacts WHERE created_by = ?", (run_id,))
        db.execute("DELETE FROM runs WHERE id = ?", (run_id,))
    store.free_unused_blobs()


def delete_files(store: Store, file_ids: list[int]) -> None:
    """Deletes files of runs."""
    with store.write() as db:
        db.executemany("DELETE FROM run_files WHERE id = ?", ((number,) for number in file_ids))
    store.free_unused_blobs()


def state_of(run: sqlite3.Row) -> str:
    """`running`, `finished`, `failed`, `crashed` and so on."""
    if run["state"] == "running":
        heard = datetime.fromisoformat(run["heartbeat_at"])
        if datetime.now(UTC) - heard > SILENT:
            return "crashed"
    return run["state"]


def plain_config(config: str) -> dict[str, Any]:
    """The config as the user set it: without W&B's own part and its `{"value": ...}` wraps."""
    return {
        key: value["value"] if isinstance(value, Mapping) and "value" in value else value
        for key, value in json.loads(config).items()
        if key not in ("_wandb", "wandb_version")
    }
