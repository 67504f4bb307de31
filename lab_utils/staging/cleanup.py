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
from lab_utils.staging.tracker import Tracker

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
    """Says which versions of the lab's three artifacts can go, and with `yes` deletes them.

    Args:
        names: `NAME:v3`; only these. None: all that can go.
        keep: without names, the newest versions of each artifact stay in any case.
        yes: deletes; else nothing is changed.
        project: `NAME` or `ENTITY/NAME` at the tracker.

    Raises StagingError if a named version is not there, or has to stay.
    """
    tracker = Tracker(project)
    with tracker.asking():
        found = [one for type, name in COLLECTIONS.items() for one in tracker.versions(name, type)]
        if unknown := set(names) - {one.source_name for one in found}:
            raise StagingError(
                f"There is no {', '.join(unknown)}; `lab cleanup` lists what is there."
            )
        reasons = _reasons(found, names, keep)
        for one in found:
            if one.source_name in names and one.id in reasons:
                raise StagingError(f"{one.source_name} stays: {reasons[one.id]}.")
        for one in found:
            if yes and one.id not in reasons:
                one.delete()  # refused if it has been given an alias meanwhile
    versions = [Version(one.source_name, one.size, reasons.get(one.id)) for one in found]
    return Plan(versions, deleted=yes)


def _reasons(found: "list[Artifact]", names: Sequence[str], keep: int) -> dict[str, str]:
    """Why each version that has to stay does, by id."""
    reasons: dict[str, str] = {}
    rank = Counter[str]()
    for one in found:  # newest first in each collection
        rank[one.type] += 1
        if names and one.source_name not in names:
            reasons[one.id] = "not named"
        elif not names and rank[one.type] <= keep:
            reasons[one.id] = f"one of the newest {keep}"
        elif one.aliases:
            reasons[one.id] = ", ".join(one.aliases)
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
