"""What the notebooks show: pictures and tables with captions, readable without colour.

Pictures go into the notebook as HTML, since a plain PNG output has no alt text.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINE_STYLES = ("-", "--", ":", "-.")
"""Series differ in these first; a colour comes on top."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Okabe and Ito's palette, which the common kinds of colour blindness keep apart."""


def show(picture: "Image.Image | Figure | str", caption: str, alt: str, width: int = 720) -> None:
    """Shows a picture, a Matplotlib figure or SVG text in the notebook.

    Args:
        caption: one sentence below the picture: what is to be seen in it.
        alt: what a reader who can't see the picture needs to know.
        width: px on the page, at most; a Pillow picture that is wider is made smaller.
    """
    from IPython.display import display

    data, kind = _encoded(picture, width)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    markup = (
        '<figure style="margin: 0.5em 0; font-style: italic">'
        f'<img src="{source}" alt="{html.escape(alt)}" style="width: {width}px; max-width: 100%">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
    display({"text/html": markup, "text/plain": f"[{caption} {alt}]"}, raw=True)


def show_table(rows: Sequence[Sequence[object]], columns: Sequence[str], caption: str) -> None:
    """Shows rows as a Markdown table; columns with only numbers are aligned right."""
    from IPython.display import display

    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(columns))
    ]
    lines = [
        [_cell(str(column)) for column in columns],
        ["---:" if right else "---" for right in numeric],
        *[[_cell(value) for value in row] for row in rows],
    ]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    text = f"{table}\n\n*{_cell(caption)}*"
    display({"text/markdown": text, "text/plain": text}, raw=True)


def panels(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> "tuple[Figure, list[Axes]]":
    """A figure of so many inches with plots in rows and columns, without pyplot's global state;
    `options` are those of Matplotlib's `subplots`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def plot(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of so many inches with one plot."""
    figure, (axes,) = panels(width, height)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_curves(axes: "Axes", curves: Mapping[str, Mapping[float, float]]) -> None:
    """Draws y by x of each curve, with a grid and a legend of the names.

    Curves differ in line style and marker first, and can be told apart without colour.
    """
    for number, (name, curve) in enumerate(curves.items()):
        axes.plot(
            list(curve),
            list(curve.values()),
            label=name,
            color=COLOURS[number],
            linestyle=LINE_STYLES[number % len(LINE_STYLES)],
            marker=MARKERS[number],
            markersize=5,
        )
    axes.grid(alpha=0.3)
    axes.legend()


def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str, digits: int = 1) -> "Figure":
    """One bar a row, made up of its parts, with the sum behind it; parts of one name look alike."""
    figure, axes = plot(7.5, 1.3 + 0.5 * len(rows))
    names = list(dict.fromkeys(part for parts in rows.values() for part in parts))
    ends = [0.0] * len(rows)
    for number, name in enumerate(names):
        sizes = [parts.get(name, 0) for parts in rows.values()]
        look = {"color": COLOURS[number], "hatch": HATCHES[number], "edgecolor": "white"}
        axes.barh(list(rows), sizes, left=ends, height=0.6, label=name, **look)
        ends = [end + size for end, size in zip(ends, sizes, strict=True)]
    for row, end in enumerate(ends):
        axes.text(end, row, f" {end:.{digits}f}", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(unit)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def boxes(texts: Mapping[str, Sequence[str]], arrows: Sequence[tuple[str, str]], title: str) -> str:
    """Boxes joined by arrows that lead from left to right, as SVG text.

    Args:
        texts: the lines below each box's name.
        arrows: pairs of names.
        title: what a screen reader says first.
    """
    from lab_tracker.lineage import Node, draw

    return draw({name: Node(name, tuple(lines)) for name, lines in texts.items()}, arrows, title)


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    # A pair of bare $ would make a formula of the text between them.
    return " ".join(str(value).split()).replace("|", "\\|").replace("$", "\\$")


def _encoded(picture: "Image.Image | Figure | str", width: int) -> tuple[bytes, str]:
    """The bytes of the smaller of PNG and JPEG for pages, PNG for plots, and the format's name."""
    if isinstance(picture, str):
        return picture.encode(), "svg+xml"
    if not isinstance(picture, Image.Image):
        drawn = io.BytesIO()
        picture.savefig(drawn, format="png", dpi=110, bbox_inches="tight")
        # A plot has few colours: with a palette it takes less than half of the bytes.
        plot = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
        return saved(plot, "png", optimize=True), "png"
    if picture.width > width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    png, jpeg = saved(picture, "png", optimize=True), saved(picture, "jpeg", quality=80)
    return (png, "png") if len(png) <= len(jpeg) else (jpeg, "jpeg")


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a picture's file; `options` are those of Pillow's `save`."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()
