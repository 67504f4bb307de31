"""The SDK's environment variables, set so that it talks to the tracker and leaves nothing in the
home folder, and taken back, so that a later run with a real key goes to wandb.ai.

What was set is noted in the environment itself: a child process that inherits it must be able to
distinguish the tracker's key from a real one."""

import json
import os
from collections.abc import MutableMapping
from pathlib import Path

_NOTE = "LAB_TRACKING_SET"  # JSON: what was set, and what was there before
_FOLDER = "LAB_TRACKING_FOLDER"
_FOLDERS = {
    "WANDB_DIR": "runs",
    "WANDB_DATA_DIR": "data",
    "WANDB_CACHE_DIR": "cache",
    "WANDB_CONFIG_DIR": "config",
    "WANDB_ARTIFACT_DIR": "artifacts",
}
_SETTINGS = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_FINISH_TIMEOUT": "120",  # s; without it, finish() waits forever for a server that died
}

_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")

Environment = MutableMapping[str, str]


def has_real_key(environment: Environment = os.environ) -> bool:
    """Whether there is an API key that the tracker did not set itself."""
    key = environment.get("WANDB_API_KEY")
    return bool(key) and key != _set_by_tracker(environment).get("WANDB_API_KEY", {}).get("now")


def point_to_tracker(
    url: str, key: str, folder: Path, environment: Environment = os.environ
) -> None:
    """Sets the SDK's address, key and folders, below the tracker's `folder`. Not called if there is
    a real key."""
    restore(environment)
    wanted = {"WANDB_BASE_URL": url, "WANDB_API_KEY": key}
    wanted |= {name: value for name, value in _SETTINGS.items() if name not in environment}
    for name, below in _FOLDERS.items():
        path = folder / "sdk" / below
        path.mkdir(parents=True, exist_ok=True)
        wanted[name] = str(path)
    if any(environment.get(name) for name in _PROXIES):
        for name in ("NO_PROXY", "no_proxy"):
            hosts = [environment[name]] if environment.get(name) else []
            wanted[name] = ",".join([*hosts, "127.0.0.1", "localhost"])
    note = {name: {"now": value, "before": environment.get(name)} for name, value in wanted.items()}
    environment.update(wanted)
    environment[_NOTE] = json.dumps(note)
    environment[_FOLDER] = str(folder.absolute())


def tracker_folder(environment: Environment = os.environ) -> Path | None:
    """The folder of the tracker that is pointed to, also by a parent process; else None."""
    folder = environment.get(_FOLDER)
    return Path(folder) if folder else None


def default_folder() -> Path:
    """The folder of a tracker for which none is given: that of an earlier one, also of a parent
    process, else `wandb` below `LAB_HOME`, else `.lab/wandb` in the current folder."""
    return tracker_folder() or Path(os.environ.get("LAB_HOME") or ".lab", "wandb")


def restore(environment: Environment = os.environ) -> bool:
    """Takes back what was set and not changed since; returns whether there was anything."""
    note = _set_by_tracker(environment)
    for name, value in note.items():
        if environment.get(name) == value["now"]:
            del environment[name]
            if value["before"] is not None:
                environment[name] = value["before"]
    environment.pop(_FOLDER, None)
    return environment.pop(_NOTE, None) is not None


def _set_by_tracker(environment: Environment) -> dict[str, dict[str, str | None]]:
    try:
        return json.loads(environment.get(_NOTE, "{}"))
    except ValueError:
        return {}
