"""`lab lineage`: from a staged model back to the data, by what the tracker recorded on the way.

Nothing is taken from names: each step asks which run made an artifact, or what a run used. The
tracker's page of the model draws it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_utils.staging.names import CHECKPOINT_TYPE, DATA_TYPE, LATEST, PROJECT, STAGED_TYPE
from lab_utils.staging.tracker import Tracker, named_aliases

if TYPE_CHECKING:
    from wandb import Artifact
    from wandb.apis.public import Run

    from lab_tracker import lineage as drawing


@dataclass(frozen=True)
class Step:
    """One step of a lineage: what it is, and the SDK's artifact or run, or None."""

    what: str
    node: Any
    is_run: bool

    @property
    def name(self) -> str:
        """The version of an artifact, the id of a run."""
        if self.node is None:
            return "not there"
        return self.node.id if self.is_run else self.node.name

    @property
    def facts(self) -> list[str]:
        """What a reader wants to know first, in a few words each."""
        if self.node is None:
            return ["deleted, or never recorded"]
        return _run_facts(self.node) if self.is_run else _artifact_facts(self.node)


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
    def steps(self) -> list[Step]:
        """From the staged model back to the data."""
        return [
            Step("staged model", self.staged, is_run=False),
            Step("staging run", self.staging_run, is_run=True),
            Step("checkpoint", self.checkpoint, is_run=False),
            Step("training run", self.training_run, is_run=True),
            Step("data", self.data, is_run=False),
        ]

    @property
    def is_complete(self) -> bool:
        return all(step.node for step in self.steps)

    def table(self) -> str:
        """What each is, its name, when it was made, and what to know, in columns."""
        rows = [("", "name", "made (UTC)", "what to know")]
        for step in self.steps:
            made = step.node.created_at[:16].replace("T", " ") if step.node else ""
            rows.append((step.what, step.name, made, "; ".join(step.facts)))
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


def graph(
    lineages: Sequence[Lineage],
    title_of: Callable[[Step], str],
    facts_of: Callable[[Step], list[str]],
    marked: Collection[str] = (),
) -> tuple[dict[Any, "drawing.Node"], list[tuple[Any, Any]]]:
    """Nodes and edges with a row for each lineage, its data at the left.

    If the staged model's name is in `marked`, the artifacts of its row are hatched.
    """
    from lab_tracker import lineage as drawing

    nodes, edges = {}, []
    for row, lineage in enumerate(lineages):
        is_marked = lineage.staged.name in marked
        steps = lineage.steps[::-1]
        for step in steps:
            look = "marked" if is_marked and not step.is_run else ""
            nodes[row, step.what] = drawing.Node(
                title_of(step),
                (step.what, *facts_of(step)),
                is_run=step.is_run,
                look=look if step.node else "missing",
            )
        keys = [(row, step.what) for step in steps]
        edges += zip(keys, keys[1:], strict=False)
    return nodes, edges


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
    aliases, metadata = named_aliases(artifact), artifact.metadata
    found = [", ".join(aliases)] if aliases else []
    score = (metadata.get("metrics") or metadata).get("score")
    if isinstance(score, int | float):
        found.append(f"CER {score:.4f}")
    lines = metadata.get("lines") if artifact.type == DATA_TYPE else None
    return [*found, f"{lines['train']} lines" if lines else f"{artifact.size / 1e6:.1f} MB"]


def _run_facts(run: "Run") -> list[str]:
    found = [run.state]
    for name in ("steps", "learning_rate"):
        if name in run.config:
            found.append(f"{name.replace('_', ' ')} {run.config[name]:g}")
    metrics = dict(run.summary)
    if "pages_that_differ" in metrics:
        same = metrics["pages"] - len(metrics["pages_that_differ"])
        found.append(f"the same tokens on {same} of {metrics['pages']} pages")
        found.append(f"logits within {metrics['largest_logit_difference']:.1g}")
    elif isinstance(metrics.get("cer"), int | float):
        found.append(f"CER {metrics['cer']:.4f}")
    return found
