"""`lab cleanup`: which versions nobody needs any more, and their deletion.

Needed is what has an alias (`best`, `latest`, `production`, or one that somebody gave), and what
something needed was made from.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import COLLECTIONS, PROJECT
from lab_utils.staging.tracker import Tracker, named_aliases, sdk

if TYPE_CHECKING:
    from wandb import Artifact


@dataclass(frozen=True)
class Version:
    """A version, `line-reader:v3`, and why it stays; without a reason it goes."""

    name: str
    bytes: int
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
    def bytes(self) -> int:
        """Of the versions to delete; files that others share stay."""
        return sum(one.bytes for one in self.to_delete)


def cleanup(
    names: Sequence[str] = (), *, keep: int = 0, yes: bool = False, project: str = PROJECT
) -> Plan:
    """Tells which versions of the lab's three artifacts can go, and deletes them if told so.

    Args:
        names: `NAME:v3`; only these. None: all that can go.
        keep: without names, the newest versions of each artifact stay in any case.
        yes: deletes; else nothing is changed.
        project: `NAME` or `ENTITY/NAME` at the tracker.

    Raises StagingError where the project or a named version is not there, and where a named
    version has to stay.
    """
    tracker = Tracker(project)
    with sdk(tracker.connection.url):
        found = [one for type, name in COLLECTIONS.items() for one in tracker.versions(name, type)]
        chosen = {_chosen(tracker, name).id for name in names}
        reasons = _reasons(found, chosen, keep)
        for one in found:
            if one.id in chosen and one.id in reasons:
                raise StagingError(f"{one.source_name} stays: {reasons[one.id]}.")
        going = [one for one in found if one.id not in reasons]
        for one in going if yes else ():
            _delete(tracker, one)
    versions = [Version(one.source_name, one.size, reasons.get(one.id)) for one in found]
    return Plan(versions, deleted=yes)


def _chosen(tracker: Tracker, name: str) -> "Artifact":
    """The version with this name."""
    for type, collection in COLLECTIONS.items():
        if name.startswith(f"{collection}:"):
            return tracker.artifact(name, type)
    known = ", ".join(f"{one}:v0" for one in COLLECTIONS.values())
    raise StagingError(f"{name} is none of the lab's versions; name one like {known}.")


def _reasons(found: "list[Artifact]", chosen: set[str], keep: int) -> dict[str, str]:
    """Why each version that has to stay does, by id."""
    reasons: dict[str, str] = {}
    rank = Counter[str]()
    for one in found:  # newest first in each collection
        rank[one.type] += 1
        if chosen and one.id not in chosen:
            reasons[one.id] = "not named"
        elif not chosen and rank[one.type] <= keep:
            reasons[one.id] = f"one of the newest {keep}"
        elif aliases := named_aliases(one):
            reasons[one.id] = ", ".join(aliases)
    ids = {one.id for one in found}
    left = [one for one in found if one.id in reasons]
    while left:
        child = left.pop()
        maker = child.logged_by()
        for parent in maker.used_artifacts() if maker else ():
            if parent.id in ids and parent.id not in reasons:
                reasons[parent.id] = f"{child.source_name} descends from it"
                left.append(parent)
    return reasons


def _delete(tracker: Tracker, artifact: "Artifact") -> None:
    """Deletes a version, unless it has been given an alias since the plan was made."""
    name = artifact.source_name
    now = tracker.artifact(name, artifact.type)
    if aliases := named_aliases(now):
        raise StagingError(f"{name} became {', '.join(aliases)} just now: look again.")
    now.delete()
