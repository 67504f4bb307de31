"""`lab lineage`: from a staged model back to the data, by what the tracker recorded on the way.

Nothing is taken from names: each step asks which run made an artifact, or what a run used.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_utils.staging.names import CHECKPOINT_TYPE, DATA_TYPE, LATEST, PROJECT, STAGED_TYPE
from lab_utils.staging.tracker import Tracker, named_aliases, sdk

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.apis.public import Run


@dataclass(frozen=True)
class ArtifactNode:
    """A version of an artifact, `line-reader:v3`."""

    name: str
    type: str
    aliases: list[str]
    created_at: str
    bytes: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class RunNode:
    """A run, with the settings and metrics that the lab or Lightning gave it."""

    id: str
    job_type: str
    state: str
    created_at: str
    config: dict[str, Any]
    metrics: dict[str, Any]


Node = ArtifactNode | RunNode


@dataclass(frozen=True)
class Lineage:
    """A staged model and what it descends from; None is what was deleted or never recorded."""

    staged: ArtifactNode
    staging_run: RunNode | None = None
    checkpoint: ArtifactNode | None = None
    training_run: RunNode | None = None
    data: ArtifactNode | None = None

    @property
    def steps(self) -> list[tuple[str, Node | None]]:
        """(what it is, node) from the staged model back to the data."""
        return [
            ("staged model", self.staged),
            ("staging run", self.staging_run),
            ("checkpoint", self.checkpoint),
            ("training run", self.training_run),
            ("data", self.data),
        ]

    @property
    def is_complete(self) -> bool:
        return all(node for _, node in self.steps)

    def table(self) -> str:
        """What each is, its name, when it was made, and what to know, in columns."""
        rows = [("", "name", "made (UTC)", "what to know")]
        for what, node in self.steps:
            if node is None:
                rows.append((what, "not there", "", "deleted, or never recorded"))
            else:
                made = node.created_at[:16].replace("T", " ")
                rows.append((what, name_of(node), made, "; ".join(facts(node))))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join([*map(str.ljust, row, widths), row[3]]).rstrip() for row in rows)


def lineage(version: str = LATEST, *, project: str = PROJECT) -> Lineage:
    """The lineage of a staged model: `ALIAS`, `v3` or `NAME:ALIAS`.

    Raises StagingError where there is no such version.
    """
    tracker = Tracker(project)
    staged = tracker.artifact(version, STAGED_TYPE)
    with sdk(tracker.connection.url):
        staging_run = staged.logged_by()
        checkpoint = _used(staging_run, CHECKPOINT_TYPE)
        training_run = checkpoint.logged_by() if checkpoint else None
        data = _used(training_run, DATA_TYPE)
        return Lineage(
            _artifact_node(staged),
            _run_node(staging_run),
            _artifact_node(checkpoint),
            _run_node(training_run),
            _artifact_node(data),
        )


def facts(node: Node) -> list[str]:
    """What a reader wants to know of a node first, in a few words each."""
    if isinstance(node, ArtifactNode):
        found = [", ".join(node.aliases)] if node.aliases else []
        score = (node.metadata.get("metrics") or node.metadata).get("score")
        if isinstance(score, int | float):
            found.append(f"CER {score:.4f}")
        lines = node.metadata.get("lines") if node.type == DATA_TYPE else None
        found += [f"{lines['train']} lines"] if lines else [f"{node.bytes / 1e6:.1f} MB"]
        return found
    found = [node.state]
    for name in ("steps", "learning_rate"):
        if name in node.config:
            found.append(f"{name.replace('_', ' ')} {node.config[name]:g}")
    if isinstance(node.metrics.get("pages_that_differ"), list):
        differ, pages = len(node.metrics["pages_that_differ"]), node.metrics.get("pages")
        found.append(f"the same tokens on {pages - differ} of {pages} pages")
        found.append(f"logits within {node.metrics['largest_logit_difference']:.1g}")
    elif isinstance(node.metrics.get("cer"), int | float):
        found.append(f"CER {node.metrics['cer']:.4f}")
    return found


def name_of(node: Node) -> str:
    """The version of an artifact, the id of a run."""
    return node.name if isinstance(node, ArtifactNode) else node.id


def _used(run: "Run | None", type: str) -> "Artifact | None":
    """The newest artifact of a type that a run used."""
    used = [one for one in run.used_artifacts() if one.type == type] if run else []
    return max(used, key=lambda one: one.created_at, default=None)


def _artifact_node(artifact: "Artifact | None") -> ArtifactNode | None:
    return artifact and ArtifactNode(
        name=artifact.source_name,
        type=artifact.type,
        aliases=named_aliases(artifact),
        created_at=artifact.created_at,
        bytes=artifact.size,
        metadata=dict(artifact.metadata),
    )


def _run_node(run: "Run | None") -> RunNode | None:
    if run is None:
        return None
    run.load()
    return RunNode(
        id=run.id,
        job_type=run.job_type or "",
        state=run.state,
        created_at=run.created_at,
        config=_own(run.config.items()),
        metrics=_own(run.summary.items()),
    )


def _own(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Without what the SDK adds for itself, and with plain values in place of its types."""
    plain = {name: value for name, value in items if not name.startswith("_")}
    return json.loads(json.dumps(plain, default=dict))
