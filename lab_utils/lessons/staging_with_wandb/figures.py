"""The pictures and the longer tables of notebook 02: losses, and where models come from.

Runs are told by what they did, not by their ids, which the tracker draws by lot.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from lab_utils.lessons.curves import draw_curves
from lab_utils.staging import ArtifactNode, Lineage, RunNode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Node = ArtifactNode | RunNode

_WIDTH, _HEIGHT, _GAP, _BETWEEN = 1.55, 0.72, 0.28, 0.35  # inches: box, arrow, between two rows


def loss_curves(losses: Mapping[str, Sequence[float]]) -> "Figure":
    """The training loss of each run at each of its steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    draw_curves(axes, {name: dict(enumerate(losses[name], start=1)) for name in losses})
    axes.set(xlabel="step", ylabel="loss on the batch of this step")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def lineage_graph(lineages: Sequence[Lineage], marked: Collection[str] = ()) -> "Figure":
    """A row for each staged model, from its data at the left.

    Where the staged model's name is in `marked`, the artifacts of its row are hatched.
    """
    from matplotlib.figure import Figure

    heads = [what for what, _ in lineages[0].steps[::-1]]
    width = len(heads) * (_WIDTH + _GAP) - _GAP
    height = len(lineages) * (_HEIGHT + _BETWEEN)
    figure = Figure(figsize=(width + 0.2, height + 0.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.1, width + 0.1), ylim=(-0.1, height + 0.1))
    axes.set_axis_off()
    for column, head in enumerate(heads):
        middle = column * (_WIDTH + _GAP) + _WIDTH / 2
        axes.text(middle, height - 0.1, head, ha="center", va="center", fontsize=9)
    for row, lineage in enumerate(lineages):
        y = height - row * (_HEIGHT + _BETWEEN) - _HEIGHT - 0.25
        for column, (_, node) in enumerate(lineage.steps[::-1]):
            x = column * (_WIDTH + _GAP)
            hatched = isinstance(node, ArtifactNode) and lineage.staged.name in marked
            _draw_node(axes, node, x, y, hatched)
            if column:
                there, here = (x, y + _HEIGHT / 2), (x - _GAP, y + _HEIGHT / 2)
                arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", xy=there, xytext=here, arrowprops=arrow)
    return figure


def _draw_node(axes: "Axes", node: Node | None, x: float, y: float, hatched: bool) -> None:
    """A box with its lower left corner at x, y (inches): round for artifacts, gray for runs."""
    from matplotlib.patches import FancyBboxPatch

    r = 0.2 if isinstance(node, ArtifactNode) else 0.01
    axes.add_patch(
        FancyBboxPatch(
            (x + r, y + r),
            _WIDTH - 2 * r,
            _HEIGHT - 2 * r,
            boxstyle=f"round,pad={r},rounding_size={r}",
            facecolor="#f2f2f2" if isinstance(node, RunNode) else "white",
            edgecolor="#888888" if hatched else "black",
            hatch="////" if hatched else None,
            linewidth=1.2,
        )
    )
    axes.text(
        x + _WIDTH / 2,
        y + _HEIGHT / 2,
        "\n".join([_title(node), *_facts(node)]),
        ha="center",
        va="center",
        fontsize=8,
        linespacing=1.35,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5} if hatched else None,
    )


def _title(node: Node | None) -> str:
    if node is None:
        return "not there"
    return node.name if isinstance(node, ArtifactNode) else f"run: {node.job_type}"


def _facts(node: Node | None) -> list[str]:
    """At most one fact, the same on every machine."""
    if node is None:
        return []
    if isinstance(node, RunNode):
        if "learning_rate" in node.config:
            return [f"learning rate {node.config['learning_rate']:g}"]
        differ, pages = len(node.metrics["pages_that_differ"]), node.metrics["pages"]
        return [f"same tokens on {pages - differ} of {pages}"]
    if node.type == "dataset":
        return [f"{node.metadata['pages']['train']} pages to train on"]
    return [", ".join(node.aliases)] if node.aliases else []
