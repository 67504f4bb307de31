"""Projects and runs: made by `wandb.init`, changed by config and summary, listed with filters."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lab_tracker.environment import ENTITY
from lab_tracker.errors import NotFoundError
from lab_tracker.names import FileId, Object, RunId, checked, checked_name
from lab_tracker.storage import Store, Upload, now

SILENT = timedelta(minutes=5)  # a running run that is silent for longer has crashed

# What `UpsertBucket` may change, and the columns that have other names.
_TEXTS = ("display_name", "notes", "description", "group_name", "job_type", "host", "state")
_RENAMED = {"job_program": "program", "commit": "commit_hash"}


def project_of(store: Store, entity: str | None, name: str) -> sqlite3.Row | None:
    """The project, or None."""
    return store.find("projects", entity=entity or ENTITY, name=name)


def find_project(store: Store, entity: str | None, name: str) -> sqlite3.Row:
    """The project. Raises NotFoundError."""
    if found := project_of(store, entity, name):
        return found
    raise NotFoundError(f"There is no project {entity or ENTITY}/{name}.")


def make_project(store: Store, entity: str | None, name: str) -> sqlite3.Row:
    """The project, which is made if it is new."""
    entity = checked_name(entity or ENTITY, "An entity's name")
    name = checked_name(name, "A project's name")
    with store.write():
        found = project_of(store, entity, name)
        return found or store.insert("projects", entity=entity, name=name, created_at=now())


def all_projects(store: Store, entity: str | None = None) -> list[sqlite3.Row]:
    """All projects, or those of an entity; the newest first."""
    return store.all("projects", "id DESC", **({"entity": entity} if entity else {}))


def find_run(store: Store, entity: str | None, project: str, name: str) -> sqlite3.Row:
    """The run of a project. Raises NotFoundError, which says which of the two is missing."""
    parent = find_project(store, entity, project)
    if run := store.find("runs", project_id=parent["id"], name=name):
        return run
    raise NotFoundError(f"There is no run {parent['entity']}/{project}/{name}.")


@checked
def upsert_run(
    store: Store,
    *,
    id: RunId | None = None,
    entity_name: str | None = None,
    model_name: str = "uncategorized",
    name: str | None = None,
    config: Object | None = None,
    summary_metrics: Object | None = None,
    tags: list[str] | None = None,
    **texts: Any,
) -> tuple[sqlite3.Row, bool]:
    """Makes a run, or changes the one with this id or name: (the run, whether it is new).

    `config` and `summary_metrics` are JSON objects; the `texts` in `_TEXTS` and `_RENAMED` count.
    """
    given = {"config": config, "summary": summary_metrics}
    changes = {column: value for column, value in given.items() if value is not None}
    changes |= {key: str(texts[key]) for key in _TEXTS if texts.get(key)}
    changes |= {column: str(texts[key]) for key, column in _RENAMED.items() if texts.get(key)}
    if tags is not None:
        changes["tags"] = json.dumps(tags)
    time = now()
    with store.write():
        if id is not None:
            run, is_new = store.get("runs", id), False
        else:
            name = checked_name(name, "A run's id")
            parent = make_project(store, entity_name, model_name)["id"]
            run = store.find("runs", project_id=parent, name=name)
            is_new = run is None
            if is_new:
                run = store.insert(
                    "runs",
                    project_id=parent,
                    name=name,
                    display_name=name,
                    created_at=time,
                    heartbeat_at=time,
                )
            else:  # resumed
                changes = {"state": "running", "exit_code": None} | changes
        store.update("runs", run["id"], heartbeat_at=time, **changes)
    return store.get("runs", run["id"]), is_new


@checked
def delete_run(store: Store, id: RunId, delete_artifacts: bool = False, **_: Any) -> None:
    """Deletes a run with its files; its artifacts stay, unless `delete_artifacts`."""
    with store.write() as db:
        store.get("runs", id)
        if delete_artifacts:
            db.execute("DELETE FROM artifacts WHERE created_by = ?", (id,))
        db.execute("DELETE FROM runs WHERE id = ?", (id,))
    store.free_unused_blobs()


def keep_file(store: Store, upload: Upload, run_id: int, name: str) -> None:
    """Makes an upload a file of a run, in place of one with the same name."""
    with upload.keep() as db:
        db.execute("DELETE FROM run_files WHERE run_id = ? AND name = ?", (run_id, name))
        store.insert("run_files", run_id=run_id, name=name, digest=upload.digest, updated_at=now())


@checked
def delete_files(store: Store, files: list[FileId], **_: Any) -> None:
    """Deletes files of runs."""
    with store.write() as db:
        db.executemany("DELETE FROM run_files WHERE id = ?", ((number,) for number in files))
    store.free_unused_blobs()


def state_of(run: sqlite3.Row) -> str:
    """`running`, `finished`, `failed`, `crashed` and so on."""
    is_silent = datetime.now(UTC) - datetime.fromisoformat(run["heartbeat_at"]) > SILENT
    return "crashed" if run["state"] == "running" and is_silent else run["state"]


def plain_config(config: str) -> dict[str, Any]:
    """The config as the user set it: without W&B's own part and its `{"value": ...}` wraps."""
    return {
        key: value["value"] if isinstance(value, Mapping) and "value" in value else value
        for key, value in json.loads(config).items()
        if key not in ("_wandb", "wandb_version")
    }
