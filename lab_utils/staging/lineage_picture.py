"""The lineage of a staged model as an SVG picture: artifacts are round, runs are angular, arrows
lead from the data to the model. The tracker's page draws its graphs with the same function."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.staging.errors import StagingError
from lab_utils.staging.lineage import ArtifactNode, Lineage, Node, RunNode, facts, name_of
from text_recognizer.files import replacing

if TYPE_CHECKING:
    from lab_tracker import lineage as drawing


def save_picture(lineage: Lineage, path: Path) -> Path:
    """Draws the lineage with its description in words, oldest at the left.

    Raises StagingError if the name does not end in .svg, or the file can't be written.
    """
    from lab_tracker.lineage import draw

    if path.suffix.lower() != ".svg":
        raise StagingError(f"{path} can't be the picture: let its name end in .svg.")
    said = [f"{what} {name_of(node)} ({'; '.join(facts(node))})" if node else f"{what} not there"
            for what, node in lineage.steps]  # fmt: skip
    title = f"Lineage of {lineage.staged.name}"
    text = f"{title}, newest first: {', from '.join(said)}."
    try:
        with replacing(path) as partial:
            drawn = draw(*graph([lineage], name_of, facts), title, text)
            partial.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise StagingError(
            f"{path} cannot be written ({error.strerror or error}); give --picture another name."
        ) from None
    return path


def graph(
    lineages: Sequence[Lineage],
    title_of: Callable[[Node], str],
    facts_of: Callable[[Node], list[str]],
    marked: Collection[str] = (),
) -> tuple[dict[str, "drawing.Node"], list[tuple[str, str]]]:
    """Nodes and edges with a row for each lineage, its data at the left.

    If the staged model's name is in `marked`, the artifacts of its row are hatched.
    """
    from lab_tracker import lineage as drawing

    nodes, edges = {}, []
    for row, lineage in enumerate(lineages):
        keys = [f"{row} {what}" for what, _ in lineage.steps[::-1]]
        for key, (what, node) in zip(keys, lineage.steps[::-1], strict=True):
            is_marked = lineage.staged.name in marked and isinstance(node, ArtifactNode)
            nodes[key] = drawing.Node(
                title_of(node) if node else "not there",
                (what, *(facts_of(node) if node else ["deleted"])),
                is_run=isinstance(node, RunNode),
                look="missing" if node is None else "marked" if is_marked else "",
            )
        edges += zip(keys, keys[1:], strict=False)
    return nodes, edges
