"""The lineage of a staged model as a picture: artifacts are round, runs are angular, and arrows
lead from the data to the model. The tracker's page draws its graphs with the same function."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.staging.errors import StagingError
from lab_utils.staging.lineage import ArtifactNode, Lineage, Node, RunNode, facts, name_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from lab_tracker import lineage as drawing

SUFFIXES = (".png", ".svg")
_SCALE = 2  # px of a PNG for one of the SVG


def check_picture(path: Path) -> None:
    """Raises StagingError for a name that does not end in .png or .svg."""
    if path.suffix.lower() not in SUFFIXES:
        raise StagingError(f"{path} can't be a picture: let its name end in .png or .svg.")


def alt_text(lineage: Lineage) -> str:
    """The picture in words, for readers who can't see it."""
    parts = [f"{what} {name_of(node)} ({'; '.join(facts(node))})" if node else f"{what} not there"
             for what, node in lineage.steps]  # fmt: skip
    return f"Lineage of {lineage.staged.name}, newest first: " + ", from ".join(parts) + "."


def draw(lineage: Lineage) -> str:
    """SVG text, oldest at the left: data, training, checkpoint, staging, staged model."""
    from lab_tracker.lineage import draw as draw_graph

    return draw_graph(
        *graph([lineage], name_of, facts), f"Lineage of {lineage.staged.name}", alt_text(lineage)
    )


def save_picture(lineage: Lineage, path: Path) -> Path:
    """Writes the drawing as PNG or SVG, both with its description in the file.

    Raises StagingError if the name is not a picture's or the file can't be written.
    """
    check_picture(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".svg":
            path.write_text(draw(lineage), encoding="utf-8")
            return path
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt("Title", f"Lineage of {lineage.staged.name}")
        texts.add_itxt("Description", alt_text(lineage))
        _paint(*graph([lineage], name_of, facts)).save(path, pnginfo=texts)
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
            is_run = isinstance(node, RunNode)
            is_marked = lineage.staged.name in marked and isinstance(node, ArtifactNode)
            nodes[key] = drawing.Node(
                title_of(node) if node else "not there",
                (what, *(facts_of(node) if node else ["deleted"])),
                is_run=is_run,
                look="missing" if node is None else "marked" if is_marked else "",
            )
        edges += zip(keys, keys[1:], strict=False)
    return nodes, edges


def _paint(nodes: dict[str, "drawing.Node"], edges: list[tuple[str, str]]) -> "Image":
    """The same layout in pixels: Pillow draws no SVG."""
    from PIL import Image, ImageDraw, ImageFont

    from lab_tracker.lineage import layout, shortened

    plan = layout(nodes, edges)
    width, height = (_SCALE * side for side in plan.box)
    places = {key: (_SCALE * x, _SCALE * y) for key, (x, y) in plan.places.items()}
    image = Image.new("RGB", (_SCALE * plan.size[0], _SCALE * plan.size[1]), "white")
    canvas = ImageDraw.Draw(image)
    fonts = [ImageFont.load_default(_SCALE * 13), ImageFont.load_default(_SCALE * 11)]
    for start, end in edges:
        x, y = places[start][0] + width, places[start][1] + height // 2
        tip = places[end][0], places[end][1] + height // 2
        canvas.line([(x, y), tip], fill="black", width=3)
        canvas.polygon([tip, (tip[0] - 16, tip[1] - 8), (tip[0] - 16, tip[1] + 8)], fill="black")
    for key, (x, y) in places.items():
        node = nodes[key]
        outline = "gray" if node.look == "missing" else "black"
        if node.is_run:
            tips = [(x + 28, y), (x + width - 28, y), (x + width, y + height // 2)]
            tips += [(x + width - 28, y + height), (x + 28, y + height), (x, y + height // 2)]
            canvas.polygon(tips, fill="#f2f2f2", outline=outline, width=3)
        else:
            box = (x, y, x + width, y + height)
            canvas.rounded_rectangle(box, 28, fill="white", outline=outline, width=3)
        for row, text in enumerate([node.title, *node.lines]):
            middle = (x + width // 2, y + _SCALE * (16 + 16 * row))
            canvas.text(
                middle,
                shortened(text, 36 if row else 29),
                fill="black",
                font=fonts[min(row, 1)],
                anchor="mm",
            )
    return image
