"""The lineage drawn: artifacts are round, runs are angular, and arrows say what was done."""

import html
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.staging.errors import StagingError
from lab_utils.staging.lineage import ArtifactNode, Lineage, Node, facts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
_WIDTH, _HEIGHT, _GAP = 5.4, 0.95, 0.5  # inches of a box, and between two


def check_picture(path: Path) -> None:
    """Raises StagingError for a name that is no PNG's or SVG's."""
    if path.suffix.lower() not in SUFFIXES:
        raise StagingError(f"{path} is no name for a picture: let it end in .png or .svg.")


def alt_text(lineage: Lineage) -> str:
    """The picture in words, for whoever can't see it."""
    parts = [f"{what} {_title(node)} ({'; '.join(facts(node))})" if node else f"{what} not there"
             for what, node in lineage.steps]  # fmt: skip
    return f"Lineage of {lineage.staged.name}, newest first: " + ", from ".join(parts) + "."


def draw(lineage: Lineage) -> "Figure":
    """A Matplotlib figure, oldest at the top: data, training, checkpoint, staging, staged model."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, Rectangle

    steps = lineage.steps[::-1]
    height = len(steps) * (_HEIGHT + _GAP) - _GAP
    figure = Figure(figsize=(_WIDTH + 0.2, height + 0.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.1, _WIDTH + 0.1), ylim=(-0.1, height + 0.1))
    axes.set_axis_off()
    for place, (what, node) in enumerate(steps):
        y = height - place * (_HEIGHT + _GAP) - _HEIGHT
        line = {"linewidth": 1.4, "edgecolor": "black", "linestyle": "-" if node else ":"}
        if what.endswith("run"):
            axes.add_patch(Rectangle((0, y), _WIDTH, _HEIGHT, facecolor="#f2f2f2", **line))
        else:
            r = 0.3
            box = FancyBboxPatch(
                (r, y + r), _WIDTH - 2 * r, _HEIGHT - 2 * r,
                boxstyle=f"round,pad={r},rounding_size={r}", facecolor="white", **line,
            )  # fmt: skip
            axes.add_patch(box)
        title = f"{what}: {_title(node)}" if node else f"{what}: not there"
        middle = _WIDTH / 2
        axes.text(middle, y + _HEIGHT - 0.26, title, ha="center", va="center", weight="bold")
        text = "\n".join(textwrap.wrap("; ".join(facts(node)), 68)) if node else "deleted"
        axes.text(middle, y + 0.32, text, ha="center", va="center", fontsize=8.5)
        if place + 1 < len(steps):
            below = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.4, "mutation_scale": 16}
            axes.annotate(
                "", xy=(middle, y - _GAP), xytext=(middle, y), arrowprops=below | {"shrinkB": 0}
            )
            said = "used by" if not what.endswith("run") else "logged"
            axes.text(middle + 0.15, y - _GAP / 2, said, ha="left", va="center", fontsize=8.5)
    return figure


def save_picture(lineage: Lineage, path: Path) -> Path:
    """Writes the drawing as PNG or SVG, both with its description in the file.

    Raises StagingError where the name or the place is none for a picture.
    """
    check_picture(path)
    try:
        import matplotlib
    except ImportError:
        raise StagingError(
            "Drawing needs Matplotlib, which is missing here: pip install matplotlib."
        ) from None
    title, alt = f"Lineage of {lineage.staged.name}", alt_text(lineage)
    figure = draw(lineage)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            figure.savefig(path, dpi=144, metadata={"Title": title, "Description": alt})
            return path
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lab"}):
            figure.savefig(path, metadata={"Date": None, "Creator": None})
        svg = path.read_text(encoding="utf-8")
        start = svg.index("<svg")
        head, rest = svg[:start], svg[start + len("<svg") :]
        attributes, _, body = rest.partition(">")
        named = f"<title>{html.escape(title)}</title>\n<desc>{html.escape(alt)}</desc>"
        path.write_text(f'{head}<svg role="img"{attributes}>\n{named}{body}', encoding="utf-8")
    except OSError as error:
        raise StagingError(
            f"{path} cannot be written ({error.strerror or error}); give --picture another name."
        ) from None
    return path


def _title(node: Node) -> str:
    return node.name if isinstance(node, ArtifactNode) else node.id
