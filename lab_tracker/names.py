"""Which names and file paths are accepted: the rules of wandb.ai, checked again on this side.

A path becomes a path on somebody's disk at download, so one that leaves its folder is refused."""

import re

from lab_tracker.errors import RequestError
from lab_tracker.limits import MAX_NAME, MAX_PATH

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(r"[/\\#?%:]")


def checked_name(name: object, what: str) -> str:
    """`name` of a project, run, entity or artifact; raises RequestError for one that is no name."""
    if not isinstance(name, str) or not name.strip(". ") or len(name) > MAX_NAME:
        raise RequestError(f"{what} must be 1 to {MAX_NAME} characters, and not dots alone.")
    if _RESERVED.search(name) or _CONTROL.search(name):
        raise RequestError(f"{what} {name!r} must have none of the characters / \\ # ? % :")
    return name


def checked_alias(alias: object) -> str:
    """An alias; `v3` and the like are refused, since they name versions."""
    alias = checked_name(alias, "An alias")
    if version_number(alias) is not None:
        raise RequestError(f"{alias!r} cannot be an alias: it names a version.")
    return alias


def version_number(name: str) -> int | None:
    """3 for `v3`, None for what does not name a version."""
    match = re.fullmatch(r"v(0|[1-9][0-9]{0,8})", name)
    return int(match[1]) if match else None


def checked_path(path: object) -> str:
    """A relative path with forward slashes that stays below its folder, on every system."""
    if not isinstance(path, str) or not path or len(path) > MAX_PATH or _CONTROL.search(path):
        raise RequestError(f"A file's name must be 1 to {MAX_PATH} printable characters.")
    parts = path.split("/")
    leaves = (
        "\\" in path or re.match(r"[A-Za-z]:", path) or any(p in ("", ".", "..") for p in parts)
    )
    if leaves:
        raise RequestError(f"The path {path!r} would leave its folder; give a plain relative one.")
    return path
