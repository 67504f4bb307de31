"""`lab lineage`: from a staged model back to the data, by what the tracker recorded on the way.

Nothing is taken from names: each step asks which run made an artifact, or what a run used. The
tracker's page of the model draws it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_utils.staging.names import CHECKPOINT_TYPE, DATA_TYPE, LATEST, PROJECT, STAGED_TYPE
from lab_utils.staging.tracker import Tracker

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.apis.public import Run


@dataclass(frozen=True)
class Lineage:
    """A staged model and what it descends from, as the SDK's artifacts and runs; None is what was
    deleted or never recorded."""

    staged: "Artifact"
    staging_run: "Run | None" = None
    checkpoint: "Artifact | None" = None
    training_run: "Run | None" = None
    data: "Artifact | None" = None

    @property
    def steps(self) -> dict[str, Any]:
        """The artifacts and runs by what they are, from the staged model back to the data."""
        return {
            "staged model": self.staged,
            "staging run": self.staging_run,
            "checkpoint": self.checkpoint,
            "training run": self.training_run,
            "data": self.data,
        }

    @property
    def is_complete(self) -> bool:
        return None not in self.steps.values()

    def table(self) -> str:
        """What each is, its name, when it was made, and what to know, in columns."""
        rows = [("", "name", "made (UTC)", "what to know")]
        for what, node in self.steps.items():
            if node is None:
                rows.append((what, "not there", "", "deleted, or never recorded"))
                continue
            is_run = what.endswith("run")
            name, facts = (node.id, _run_facts) if is_run else (node.name, _artifact_facts)
            made = node.created_at[:16].replace("T", " ")
            rows.append((what, name, made, "; ".join(facts(node))))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows)


def lineage(version: str = LATEST, *, project: str = PROJECT) -> Lineage:
    """The lineage of a staged model: `ALIAS`, `v3` or `NAME:ALIAS`.

    Raises StagingError if there is no such version.
    """
    tracker = Tracker(project)
    staged = tracker.artifact(version, STAGED_TYPE)
    with tracker.asking():
        staging_run = _maker(staged)
        checkpoint = _used(staging_run, CHECKPOINT_TYPE)
        training_run = _maker(checkpoint)
        data = _used(training_run, DATA_TYPE)
    return Lineage(staged, staging_run, checkpoint, training_run, data)


def _maker(artifact: "Artifact | None") -> "Run | None":
    """The run that logged an artifact, with its config and summary."""
    run = artifact.logged_by() if artifact else None
    if run:
        run.load()
    return run


def _used(run: "Run | None", type: str) -> "Artifact | None":
    """The newest artifact of a type that a run used."""
    used = [one for one in run.used_artifacts() if one.type == type] if run else []
    return max(used, key=lambda one: one.created_at, default=None)


def _artifact_facts(artifact: "Artifact") -> list[str]:
    metadata = artifact.metadata
    found = [", ".join(artifact.aliases)] if artifact.aliases else []
    score = (metadata.get("metrics") or metadata).get("score")
    if isinstance(score, int | float):
        found.append(f"CER {score:.4f}")
    lines = metadata.get("lines") if artifact.type == DATA_TYPE else None
    return [*found, f"{lines['train']} lines" if lines else f"{artifact.size / 1e6:.1f} MB"]


def _run_facts(run: "Run") -> list[str]:
    names = [name for name in ("steps", "learning_rate") if name in run.config]
    return [run.state, *(f"{name.replace('_', ' ')} {run.config[name]:g}" for name in names)]
