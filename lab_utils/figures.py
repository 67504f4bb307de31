"""What the notebooks show: pictures and tables with captions, readable without colour.

Pictures go into the notebook as HTML, since a plain PNG output has no alt text.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
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
    """Shows rows as a Markdown table; columns that hold only numbers are aligned right."""
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


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    # A pair of bare $ would make a formula of what stands between.
    return " ".join(str(value).split()).replace("|", "\\|").replace("$", "\\$")


def _encoded(picture: "Image.Image | Figure | str", width: int) -> tuple[bytes, str]:
    """The bytes of the smaller of PNG and JPEG for pages, PNG for plots, and the format's name."""
    if isinstance(picture, str):
        return picture.encode(), "svg+xml"
    if not isinstance(picture, Image.Image):
        import matplotlib.pyplot as plt

        drawn, out = io.BytesIO(), io.BytesIO()
        picture.savefig(drawn, format="png", dpi=110, bbox_inches="tight")
        plt.close(picture)
        # A plot has few colours: with a palette it takes less than half of the bytes.
        plot = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
        plot.save(out, "png", optimize=True)
        return out.getvalue(), "png"
    if picture.width > width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    encoded = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 80})):
        out = io.BytesIO()
        picture.save(out, kind, **options)
        encoded.append((out.getvalue(), kind))
    return min(encoded, key=lambda one: len(one[0]))
