"""The SDK's environment variables, set so that it talks to the tracker and leaves nothing in the
home folder, and taken back, so that a later run with a real key goes to wandb.ai.

What was set is noted in the environment itself: a child process that inherits it must be able to
distinguish the tracker's key from a real one."""

import json
import os
from pathlib import Path

ENTITY = "lab"  # owns what names no other entity
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


def has_real_key() -> bool:
    """Whether there is an API key that the tracker did not set itself."""
    own, _ = _set_by_tracker().get("WANDB_API_KEY", (None, None))
    return os.environ.get("WANDB_API_KEY", "") not in ("", own)


def point_to_tracker(url: str, key: str, folder: Path) -> None:
    """Sets the SDK's address, key and folders, below the tracker's `folder`. Not called if there is
    a real key."""
    restore()
    wanted = {"WANDB_BASE_URL": url, "WANDB_API_KEY": key, _FOLDER: str(folder.absolute())}
    wanted |= {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    for name, below in _FOLDERS.items():
        path = folder / "sdk" / below
        path.mkdir(parents=True, exist_ok=True)
        wanted[name] = str(path)
    if any(map(os.environ.get, _PROXIES)):
        for name in ("NO_PROXY", "no_proxy"):
            hosts = [os.environ.get(name), "127.0.0.1", "localhost"]
            wanted[name] = ",".join(filter(None, hosts))
    note = {name: (value, os.environ.get(name)) for name, value in wanted.items()}
    os.environ.update(wanted, **{_NOTE: json.dumps(note)})


def tracker_folder(default: Path | None = None) -> Path:
    """The folder of a tracker for which none is given: that of an earlier one, also of a parent
    process, else `default`: `wandb` below `LAB_HOME`, or `.lab/wandb` in the current folder."""
    default = default or Path(os.environ.get("LAB_HOME") or ".lab", "wandb")
    return Path(os.environ.get(_FOLDER) or default)


def restore() -> None:
    """Takes back what was set and not changed since."""
    for name, (value, before) in _set_by_tracker().items():
        if os.environ.get(name) == value:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before
    os.environ.pop(_NOTE, None)


def _set_by_tracker() -> dict[str, tuple[str, str | None]]:
    """By name, what was set and what was there before."""
    return json.loads(os.environ.get(_NOTE, "{}"))
