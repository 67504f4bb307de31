"""Projects and runs: made by `wandb.init`, changed by config and summary, listed with filters."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lab_tracker.environment import ENTITY
from lab_tracker.errors import NotFoundError
from lab_tracker.names import FileId, Object, Path, RunId, checked, checked_name
from lab_tracker.storage import Row, Store, Upload, now

SILENT = timedelta(minutes=5)  # a running run that is silent for longer has crashed

# What `UpsertBucket` may change, by the column.
_TEXTS = {
    **{name: name for name in ("display_name", "notes", "description", "group_name", "job_type")},
    **{"host": "host", "state": "state", "program": "job_program", "commit_hash": "commit"},
}


def project_of(store: Store, entity: str | None, name: str) -> Row | None:
    """The project, or None."""
    return store.find("projects", entity=entity or ENTITY, name=name)


def find_project(store: Store, entity: str | None, name: str) -> Row:
    """The project. Raises NotFoundError."""
    if found := project_of(store, entity, name):
        return found
    raise NotFoundError(f"There is no project {entity or ENTITY}/{name}.")


def make_project(store: Store, entity: str | None, name: str) -> Row:
    """The project, which is made if it is new."""
    own = {"entity": checked_name(entity or ENTITY), "name": checked_name(name)}
    with store.write():
        return store.find("projects", **own) or store.insert("projects", **own, created_at=now())


def find_run(store: Store, entity: str | None, project: str, name: str) -> Row:
    """The run of a project. Raises NotFoundError, which says which of the two is missing."""
    parent = find_project(store, entity, project)
    if run := store.find("runs", project_id=parent["id"], name=name):
        return run
    raise NotFoundError(f"There is no run {parent['entity']}/{project}/{name}.")


@checked
def upsert_run(
    store: Store,
    id: RunId | None = None,
    entity_name: str = "",
    model_name: str = "uncategorized",
    name: str = "",
    config: Object | None = None,
    summary_metrics: Object | None = None,
    tags: list[str] | None = None,
    **texts: Any,
) -> tuple[Row, bool]:
    """Makes a run, or changes the one with this id or name: (the run, whether it is new).

    `config` and `summary_metrics` are JSON objects; the `texts` in `_TEXTS` count.
    """
    given = {"config": config, "summary": summary_metrics}
    given["tags"] = None if tags is None else json.dumps(tags)
    changes = {column: value for column, value in given.items() if value is not None}
    changes |= {column: str(texts[key]) for column, key in _TEXTS.items() if texts.get(key)}
    with store.write():
        if id is not None:
            run = store.get("runs", id)
        else:
            project = make_project(store, entity_name, model_name)["id"]
            own = {"project_id": project, "name": checked_name(name)}
            run = store.find("runs", **own)
            if run:  # resumed
                changes = {"state": "running", "exit_code": None} | changes
            else:
                times = {"created_at": now(), "heartbeat_at": now()}
                made = store.insert("runs", **own, display_name=name, **times)
        number = (run or made)["id"]
        return store.update("runs", number, heartbeat_at=now(), **changes), run is None


@checked
def announce_files(
    store: Store,
    files: list[Path],
    run_name: str = "",
    project_name: str = "",
    entity_name: str = "",
) -> tuple[int, list[str]]:
    """The run that files are about to be uploaded for, and their names."""
    return find_run(store, entity_name, project_name, run_name)["id"], files


@checked
def delete_run(store: Store, id: RunId, delete_artifacts: bool = False) -> None:
    """Deletes a run with its files; its artifacts stay, unless `delete_artifacts`."""
    with store.write():
        store.get("runs", id)
        if delete_artifacts:
            store.delete("artifacts", created_by=id)
        store.delete("runs", id=id)
    store.free_unused_blobs()


def keep_file(store: Store, upload: Upload, run_id: int, name: str) -> None:
    """Makes an upload a file of a run, in place of one with the same name."""
    with upload.keep():
        store.delete("run_files", run_id=run_id, name=name)
        store.insert("run_files", run_id=run_id, name=name, digest=upload.digest, updated_at=now())


@checked
def delete_files(store: Store, files: list[FileId]) -> None:
    """Deletes files of runs."""
    with store.write():
        for number in files:
            store.delete("run_files", id=number)
    store.free_unused_blobs()


def state_of(run: Row) -> str:
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
