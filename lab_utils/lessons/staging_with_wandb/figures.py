"""The pictures and the longer tables of notebook 02: losses, and where models come from.

Runs are named by what they did, not by their ids, which the tracker chooses at random.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lab_tracker import lineage as drawing
from lab_utils.figures import draw_curves, plot
from lab_utils.staging.lineage import Lineage


def loss_curves(losses: Mapping[str, Sequence[float]]) -> Figure:
    """The training loss of each run at each of its steps."""
    figure, axes = plot(6, 3)
    draw_curves(axes, {name: dict(enumerate(losses[name], start=1)) for name in losses})
    axes.set(xlabel="step", ylabel="loss on the batch of this step")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def lineage_graph(lineages: Sequence[Lineage], marked: Collection[str] = ()) -> str:
    """SVG text with a row for each staged model, whole, from its data at the left.

    If the staged model's name is in `marked`, the artifacts of its row are hatched.
    """
    nodes, edges = {}, []
    for row, lineage in enumerate(lineages):
        steps = list(reversed(lineage.steps.items()))
        for what, node in steps:
            is_run = what.endswith("run")
            nodes[row, what] = drawing.Node(
                f"run: {node.job_type}" if is_run else node.name,
                (what, *_facts(node, is_run)),
                is_run=is_run,
                look="marked" if lineage.staged.name in marked and not is_run else "",
            )
        keys = [(row, what) for what, _ in steps]
        edges += zip(keys, keys[1:], strict=False)
    return drawing.draw(nodes, edges, "Lineage", "From the data at the left to staged models")


def _facts(node: Any, is_run: bool) -> list[str]:
    """At most one fact, the same on every machine."""
    if is_run and "learning_rate" in node.config:
        return [f"learning rate {node.config['learning_rate']:g}"]
    if is_run:
        differ, pages = len(node.summary["pages_that_differ"]), node.summary["pages"]
        return [f"same tokens on {pages - differ} of {pages}"]
    if node.type == "dataset":
        return [f"{node.metadata['pages']['train']} pages to train on"]
    return [", ".join(node.aliases)] if node.aliases else []
