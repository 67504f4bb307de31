"""The pictures of notebook 03: what each stage of the recognizer gets and gives.

Gray levels are 0 to 255 everywhere, 0 black. Figures are made without pyplot's global state.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lab_utils.figures import COLOURS, panels, plot
from text_recognizer.models.line_tracing import LEAST
from text_recognizer.overlay import draw_lines
from text_recognizer.paragraph_text_recognizer import Line

Picture = Image.Image | Tensor
"""A picture, or gray levels of any shape that ends in height and width."""

MARK = COLOURS[5]
GRAY = {"cmap": "gray", "vmin": 0, "vmax": 255}
BLANK_SIGN, SPACE_SIGN = "\N{MIDDLE DOT}", "\N{OPEN BOX}"


def as_picture(picture: Picture) -> Image.Image:
    """Gray levels (..., H, W) as a picture; a picture as it is."""
    if isinstance(picture, Image.Image):
        return picture
    levels = picture.detach().reshape(picture.shape[-2:]).float()
    return Image.fromarray(levels.round().clamp(0, 255).byte().numpy())


def gallery(
    pictures: Sequence[Picture], titles: Sequence[str], columns: int = 3, height: int = 240
) -> Image.Image:
    """Pictures of one height (px) in rows, each with its title above."""
    font = ImageFont.load_default(15)
    gap, head = 10, 24
    panels = []
    for picture, title in zip(pictures, titles, strict=True):
        image = as_picture(picture).convert("L")
        image = image.resize((round(image.width * height / image.height), height))
        width = max(image.width, math.ceil(font.getlength(title)))
        panel = Image.new("L", (width, height + head), 255)
        ImageDraw.Draw(panel).text((0, 0), title, fill=0, font=font)
        panel.paste(image, (0, head))
        ImageDraw.Draw(panel).rectangle((0, head, image.width - 1, height + head - 1), outline=128)
        panels.append(panel)
    rows = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    widest = max(sum(panel.width + gap for panel in row) for row in rows) - gap
    sheet = Image.new("L", (widest, len(rows) * (height + head + gap) - gap), 255)
    for place, row in enumerate(rows):
        left = 0
        for panel in row:
            sheet.paste(panel, (left, place * (height + head + gap)))
            left += panel.width + gap
    return sheet


def lines_found(image: Image.Image, lines: Sequence[Line], scale: float = 1.0) -> Image.Image:
    """The page with the lines that `overlay.draw_lines` draws, and a margin for their numbers."""
    room = max(image.size) // 20
    page = Image.new("L", (image.width + room, image.height), 255)
    page.paste(image.convert("L"), (room, 0))
    moved = [replace(line, path=[(x + room / scale, y) for x, y in line.path]) for line in lines]
    return draw_lines(page, moved, scale)


def under_a_shadow(page: Picture) -> Tensor:
    """The page's gray levels (H, W) as seen by a phone whose shadow falls on the left half.

    Light dims what it falls on by a factor, ink and paper alike.
    """
    levels = _levels(page)
    height, width = levels.shape
    x = torch.linspace(0, 1, width)[None]
    y = torch.linspace(0, 1, height)[:, None]
    lit = torch.sigmoid(9 * (x - 0.4 - 0.2 * y))
    return levels * (0.5 + 0.45 * lit)


def faint(page: Picture) -> Tensor:
    """The page's gray levels (H, W) as if written with a hard pencil on gray paper."""
    return 150 + 0.25 * (_levels(page) - 150)


def waved(page: Picture, height: float, length: float) -> Image.Image:
    """The page on paper that waves: `height` px up and down, once in every `length` px."""
    levels = _levels(page)[None, None]
    room = math.ceil(height)
    levels = F.pad(levels, [0, 0, room, room], mode="replicate")
    rows, columns = levels.shape[2:]
    x, y = torch.arange(columns) + 0.5, torch.arange(rows) + 0.5
    y = y[:, None] + height * torch.sin(2 * math.pi * x / length)
    grid = torch.stack([(2 * x / columns - 1).expand_as(y), 2 * y / rows - 1], dim=2)
    return as_picture(F.grid_sample(levels, grid[None], padding_mode="border", align_corners=False))


def _levels(page: Picture) -> Tensor:
    return torch.from_numpy(np.array(as_picture(page).convert("L"))).float()


def column_profile(page: Picture, ridges: Tensor, column: int, peaks: Sequence[int]) -> Figure:
    """The page with one column of the ridge map (rows, columns) marked, and its profile beside."""
    rows, columns = ridges.shape
    profile, centres = ridges[:, column].numpy(), np.arange(rows) + 0.5
    figure, (left, right) = panels(5.6, 3.2, columns=2, sharey=True)
    without_grain = as_picture(page).point(lambda level: 255 if level > 200 else level)
    left.imshow(without_grain, **GRAY, extent=(0, columns, rows, 0), aspect="auto")
    left.axvline(column + 0.5, color="black", linestyle="--")
    left.set(title=f"the page and column {column}", xlabel="column", ylabel="row of the map")
    right.plot(profile, centres, color="black")
    right.plot(profile[list(peaks)], centres[list(peaks)], "o", color=MARK, label="peak")
    right.axvline(LEAST, color="black", linestyle=":", label=f"{LEAST}")
    right.set(title="the ridge map in this column", xlabel="ridge", xlim=(0, 1.1))
    figure.legend(loc="outside lower right", ncols=2)
    return figure


def traced_ridges(ridges: Tensor, paths: Tensor, edges: Tensor) -> Figure:
    """The ridge map (rows, columns) with the traced paths (N, columns), numbered, from each
    line's first column to its last, edges (N, 2)."""
    rows, columns = ridges.shape
    figure, axes = plot(5.0, 2.9)
    gray = {"cmap": "gray_r", "vmin": 0, "vmax": 1.4}  # black would hide the paths
    axes.imshow(ridges.numpy(), **gray, extent=(0, columns, rows, 0), aspect="auto")
    for number, (path, (first, last)) in enumerate(zip(paths, edges.tolist(), strict=True), 1):
        x, y = np.arange(first, last + 1) + 0.5, path[first : last + 1].numpy()
        axes.plot(x, y, "--", color=MARK)
        axes.plot(x[[0, -1]], y[[0, -1]], "o", color=MARK, markersize=4)
        beside = {"textcoords": "offset points", "va": "center", "ha": "right"}
        axes.annotate(str(number), (x[0], y[0]), (-9, 0), **beside)
    axes.set(xlabel="column of the map", ylabel="row of the map", xlim=(-4, columns))
    return figure


def strip_sheet(strips: Tensor, widths: Sequence[int], names: Sequence[str]) -> Image.Image:
    """Strips (N, 1, 48, W) in [-1, 1] below each other, with their widths and names."""
    font = ImageFont.load_default(15)
    margin = 12 + math.ceil(max(font.getlength(name) for name in names))
    height = strips.shape[2]
    sheet = Image.new("L", (margin + max(widths), len(names) * (height + 6) - 6), 255)
    for place, (strip, width, name) in enumerate(zip(strips, widths, names, strict=True)):
        top = place * (height + 6)
        ImageDraw.Draw(sheet).text((0, top + height // 2 - 8), name, fill=0, font=font)
        sheet.paste(as_picture(127.5 + 127.5 * strip[:, :, :width]), (margin, top))
        frame = (margin, top, margin + width - 1, top + height - 1)
        ImageDraw.Draw(sheet).rectangle(frame, outline=128)
    return sheet


def sign(token: str) -> str:
    """How a token is written where blanks and spaces must be seen."""
    return {"<blank>": BLANK_SIGN, " ": SPACE_SIGN}.get(token, token)


def ctc_heat_map(strip: Tensor, probabilities: Tensor, tokens: Sequence[str]) -> Figure:
    """A strip (1, 1, 48, W), below it the probabilities (W/8, classes) of the classes that are
    the best in some frame, and below each frame its best class."""
    frames = probabilities.shape[0]
    best = probabilities.argmax(1).tolist()
    classes = sorted(set(best))
    names = {"<blank>": "blank", " ": "space"}
    figure, (top, below) = panels(8.0, 4.2, rows=2, sharex=True, height_ratios=(1, 5))
    picture = as_picture(127.5 + 127.5 * strip).point(lambda level: 255 if level > 200 else level)
    top.imshow(picture, **GRAY, extent=(0, frames, 1, 0), aspect="auto")
    top.set_yticks([])
    top.tick_params(axis="x", length=0)
    shown = probabilities[:, classes].T.numpy()
    dark = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
    below.imshow(shown, **dark, extent=(0, frames, len(classes), 0), aspect="auto")
    below.set_yticks(
        np.arange(len(classes)) + 0.5, [names.get(tokens[c], tokens[c]) for c in classes]
    )
    below.set_yticks(np.arange(len(classes) + 1), minor=True)
    below.grid(axis="y", which="minor", linewidth=0.3)
    below.set_xticks(np.arange(frames) + 0.5, [sign(tokens[c]) for c in best])
    below.tick_params(axis="x", length=0)
    below.set(ylabel="class", xlabel="the best class of each frame, a frame for every 8 px")
    return figure


def confidences(lines: Sequence[Line], labels: Sequence[str]) -> Figure:
    """A mark for each line that was read, from the top; a cross where it differs from its label."""
    right = [line.text == label for line, label in zip(lines, labels, strict=True)]
    figure, axes = plot(5.6, 0.28 * len(lines) + 0.9)
    for wanted, marker, colour, name in (
        (True, "o", COLOURS[0], "read right"),
        (False, "X", MARK, "read wrong"),
    ):
        places = [place for place, is_right in enumerate(right) if is_right == wanted]
        values = [lines[place].confidence for place in places]
        axes.plot(values, places, marker, color=colour, markersize=9, label=name)
    axes.set_yticks(range(len(lines)), [line.text for line in lines])
    axes.invert_yaxis()
    axes.grid(axis="y", linewidth=0.4)
    axes.set(xlabel="confidence")
    figure.legend(loc="outside upper center", ncols=2)
    return figure
