"""`lab cleanup`: which versions nobody needs any more, and their deletion.

Needed is what has an alias (`best`, `latest`, `production`, or one that somebody gave), and what
something needed was made from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import (
    CHECKPOINT,
    CHECKPOINT_TYPE,
    DATA,
    DATA_TYPE,
    PROJECT,
    STAGED,
    STAGED_TYPE,
)
from lab_utils.staging.tracker import Tracker, named_aliases, sdk, versioned

if TYPE_CHECKING:
    from wandb import Artifact

COLLECTIONS = {STAGED: STAGED_TYPE, CHECKPOINT: CHECKPOINT_TYPE, DATA: DATA_TYPE}


@dataclass(frozen=True)
class Version:
    """A version, and why it stays; without a reason it goes."""

    name: str
    """`line-reader:v3`."""
    bytes: int
    aliases: list[str]
    kept_because: str | None


@dataclass(frozen=True)
class Plan:
    """What a cleanup would do, or did."""

    versions: list[Version]
    deleted: bool = False
    """Whether it was done; else it is only a plan."""

    @property
    def to_delete(self) -> list[Version]:
        return [one for one in self.versions if one.kept_because is None]

    @property
    def kept(self) -> list[Version]:
        return [one for one in self.versions if one.kept_because is not None]

    @property
    def bytes(self) -> int:
        """Of the versions to delete; files that others share stay."""
        return sum(one.bytes for one in self.to_delete)


def cleanup(
    names: Sequence[str] = (),
    *,
    keep: int = 0,
    yes: bool = False,
    force: bool = False,
    project: str = PROJECT,
) -> Plan:
    """Tells which versions of the lab's three artifacts can go, and deletes them if told so.

    Args:
        names: `NAME:v3`; these alone. None: all that can go.
        keep: without names, the newest versions of each artifact stay in any case.
        yes: deletes; else nothing is changed.
        force: also deletes what has an alias, and what a kept version descends from.
        project: `NAME` or `ENTITY/NAME` at the tracker.

    Raises StagingError where the project or a named version is not there, and where a named
    version has to stay.
    """
    tracker = Tracker(project)
    with sdk(tracker.connection.url):
        found = [one for name, type in COLLECTIONS.items() for one in tracker.versions(name, type)]
        chosen = _chosen(tracker, names)
        reasons = _reasons(found, chosen, keep, force)
        for one in found:
            if one.id in chosen and one.id in reasons:
                raise StagingError(
                    f"{versioned(one)} stays: {reasons[one.id]}; --force deletes it anyway."
                )
        going = [one for one in found if one.id not in reasons]
        if yes:
            for one in going:
                _delete(tracker, one, force)
        versions = [
            Version(versioned(one), one.size, named_aliases(one), reasons.get(one.id))
            for one in found
        ]
    return Plan(versions, deleted=yes)


def _chosen(tracker: Tracker, names: Sequence[str]) -> set[str]:
    """The ids of versions by name."""
    ids = set()
    for name in names:
        collection = name.partition(":")[0]
        if collection not in COLLECTIONS or ":" not in name:
            known = ", ".join(f"{one}:v0" for one in COLLECTIONS)
            raise StagingError(f"{name} is none of the lab's versions; name one like {known}.")
        ids.add(tracker.artifact(name, COLLECTIONS[collection]).id)
    return ids


def _reasons(found: "list[Artifact]", chosen: set[str], keep: int, force: bool) -> dict[str, str]:
    """Why each version that has to stay does, by id."""
    reasons: dict[str, str] = {}
    rank: dict[str, int] = {}
    for one in found:  # newest first in each collection
        collection = versioned(one).partition(":")[0]
        rank[collection] = rank.get(collection, 0) + 1
        aliases = named_aliases(one)
        if chosen and one.id not in chosen:
            reasons[one.id] = "not named"
        elif not chosen and rank[collection] <= keep:
            reasons[one.id] = f"one of the newest {keep}"
        elif aliases and not force:
            reasons[one.id] = ", ".join(aliases)
    ids = {one.id for one in found}
    left = [] if force else [one for one in found if one.id in reasons]
    while left:
        child = left.pop()
        maker = child.logged_by()
        for parent in maker.used_artifacts() if maker else ():
            if parent.id in ids and parent.id not in reasons:
                reasons[parent.id] = f"{versioned(child)} descends from it"
                left.append(parent)
    return reasons


def _delete(tracker: Tracker, artifact: "Artifact", force: bool) -> None:
    """Deletes a version, unless it has been given an alias since the plan was made."""
    name = versioned(artifact)
    now = tracker.artifact(name, artifact.type)
    if not force and named_aliases(now):
        raise StagingError(f"{name} became {', '.join(named_aliases(now))} just now: look again.")
    now.delete(delete_aliases=force)
