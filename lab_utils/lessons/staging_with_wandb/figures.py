"""The pictures and the longer tables of notebook 02: losses, and where models come from.

Runs are named by what they did, not by their ids, which the tracker chooses at random.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from lab_tracker import lineage as drawing
from lab_utils.figures import draw_curves, plot
from lab_utils.staging.lineage import Lineage, Step, graph
from lab_utils.staging.tracker import named_aliases

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curves(losses: Mapping[str, Sequence[float]]) -> "Figure":
    """The training loss of each run at each of its steps."""
    figure, axes = plot(6, 3)
    draw_curves(axes, {name: dict(enumerate(losses[name], start=1)) for name in losses})
    axes.set(xlabel="step", ylabel="loss on the batch of this step")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def lineage_graph(lineages: Sequence[Lineage], marked: Collection[str] = ()) -> str:
    """SVG text with a row for each staged model, from its data at the left.

    If the staged model's name is in `marked`, the artifacts of its row are hatched.
    """
    nodes, edges = graph(lineages, _title, _facts, marked)
    return drawing.draw(nodes, edges, "Lineage", "From the data at the left to staged models")


def _title(step: Step) -> str:
    return f"run: {step.node.job_type}" if step.is_run and step.node else step.name


def _facts(step: Step) -> list[str]:
    """At most one fact, the same on every machine."""
    node = step.node
    if node is None:
        return step.facts
    if step.is_run:
        if "learning_rate" in node.config:
            return [f"learning rate {node.config['learning_rate']:g}"]
        differ, pages = len(node.summary["pages_that_differ"]), node.summary["pages"]
        return [f"same tokens on {pages - differ} of {pages}"]
    if node.type == "dataset":
        return [f"{node.metadata['pages']['train']} pages to train on"]
    aliases = named_aliases(node)
    return [", ".join(aliases)] if aliases else []
