# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From an image to its text: the ParagraphTextRecognizer
#
# **Time:** 115 minutes
#
# **You will learn**
#
# - what people send as images, and how all of it becomes one kind of page;
# - how the lines of a paragraph are found, followed and straightened;
# - how CTC turns frames of probabilities into characters;
# - how to measure the result: confidence without a label, the character error rate with one;
# - what a language model improves, and what it can make worse;
# - how one class and one command hide all this, and how they read your own handwriting.

# %% tags=["setup"]
# The set-up cell: `lab notebooks build` fills it in.

# %% [markdown]
# ## A page goes in, its text comes out
#
# A service is judged by one thing: someone sends a picture and gets its text back. So start there.
# The recognizer is one TorchScript file, compiled here from the [packaged
# weights](../data/weights/README.md), and one class around it. (Without a language model for now;
# section 8 adds it.)

# %%
import torch
from PIL import Image

from lab_utils import figures
from lab_utils.lessons.paragraph_text_recognizer import checks
from lab_utils.lessons.paragraph_text_recognizer import figures as draw
from lab_utils.model import packaged_model, packaged_recognizer

torch.set_grad_enabled(False)  # this notebook only reads; nothing is trained
MODEL = packaged_model()
recognizer = packaged_recognizer(language_model="none")

# %%
PAGE = "data/pages/show_font_008.jpg"
reading = recognizer.read(PAGE)
figures.show(
    draw.lines_found(Image.open(PAGE), reading.lines),
    "Figure 1. The lines that were found, in reading order.",
    "A page with eight handwritten lines; a numbered stroke runs through each from start to end.",
    width=360,
)
print(reading.text)

# %% [markdown]
# Compare it with the page: the lines climb to the right and don't start directly below each other,
# and none of that shows in the text. What happens in between has five stages, and each is a section
# of this notebook:
#
# 1. **Image in**: whatever was sent becomes one upright page in gray.
# 2. **Normalize**: paper becomes 0 and ink 1, whatever the lighting was.
# 3. **Find lines**: a network draws a ridge along each line, and a tracing step follows the ridges.
# 4. **Cut strips**: the page is sampled along each line into a straight strip.
# 5. **Read**: a second network reads all strips, and CTC turns its output into characters.

# %% [markdown]
# ## 1. Image in
#
# A phone doesn't rotate a photo. It stores the pixels as the sensor recorded them, with a note in
# the EXIF data that says how to rotate them. Viewers apply the note, so nobody sees it. But a
# program that takes only the pixels gets a page lying on its side. This cell makes such a photo.

# %%
import io

from PIL import ExifTags

from text_recognizer.images import load_image

exif, photo = Image.Exif(), io.BytesIO()
exif[ExifTags.Base.Orientation] = 6  # "turn me a quarter clockwise"
Image.open(PAGE).transpose(Image.Transpose.ROTATE_90).save(photo, "JPEG", exif=exif)
stored, loaded = Image.open(photo), load_image(photo.getvalue()).page
print(f"pixels in the file: {stored.size}, page after loading: {loaded.size}")

# %%
figures.show(
    draw.gallery([stored, loaded], ["pixels in the file", "after load_image"], height=200),
    "Figure 2. The same photo without and with its EXIF note.",
    "Left, the lines of the page run from bottom to top; right, the page is upright.",
    width=500,
)

# %% [markdown]
# `load_image` does this for every image that comes in, and it handles more traps. One of them is a
# picture with transparency, such as a note drawn on a tablet: its paper isn't white, it is
# *absent*, and the pixels there are usually black. Dropping the transparency then leaves black ink
# on black paper.

# %% [markdown]
# ### Exercise 1: One kind of page (10 minutes)
#
# Difficulty ●●●○○ · Importance ●●●●○
#
# Turn a PIL image into one gray page: upright as its EXIF data says, white where it is
# transparent, mode `"L"`. Half-transparent ink blends with the paper. Don't change the image you
# are given.

# %% tags=["exercise"]
from PIL import Image, ImageOps


def gray_page(image: Image.Image) -> Image.Image:
    """An image as one gray page.

    Args:
        image: mode 1, L, P, RGB or CMYK, or LA or RGBA, with or without transparency and EXIF
            data; it is not changed.

    Returns:
        A new image of mode "L" (0 black, 255 white), upright, on white paper.
    """
    ### BEGIN SOLUTION
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    paper = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(paper, upright).convert("L")
    ### END SOLUTION


# %% tags=["check"]
checks.gray_page(gray_page)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `ImageOps.exif_transpose(image)` returns a rotated copy. Convert it to `"RGBA"`, so that every
# picture has an alpha channel, make white paper of the same size, and use `Image.alpha_composite`.
# Convert to `"L"` last.
#
# </details>

# %% [markdown]
# Try it on a note without paper. The library's `load_image` goes one step further and checks the
# ink first: light ink without paper gets black paper, or white chalk would vanish on white.

# %%
note = Image.new("RGBA", (364, 455), (0, 0, 0, 0))
ink_mask = Image.open(PAGE).convert("L").point(lambda level: max(0, 2 * (160 - level)))
note.paste((0, 0, 0), mask=ink_mask)
figures.show(
    draw.gallery([note.convert("L"), gray_page(note)], ['convert("L")', "your gray_page"]),
    "Figure 3. A note with a transparent background, converted in two ways.",
    "Left, all is black; right, black writing is on white paper.",
    width=500,
)

# %% [markdown]
# Images also come in many forms: a path, the bytes of an upload, a PIL image, and the **data URI**
# in which browsers send images inside JSON. `load_image` takes them all and returns the same page.

# %%
import base64
from pathlib import Path

data = Path(PAGE).read_bytes()
data_uri = "data:image/jpeg;base64," + base64.b64encode(data).decode()
print(data_uri[:50], "...", f"{len(data):,} bytes became {len(data_uri):,} characters")
sources = [PAGE, data, data_uri, Image.open(PAGE)]
pages = [load_image(source).page.tobytes() for source in sources]
print("all four give the same pixels:", all(page == pages[0] for page in pages))

# %% [markdown]
# And then there are files that nobody should have sent. Each of these would raise an exception deep
# inside some decoder, or worse: the last file is only 10 kB but holds 81 million pixels. A service
# must answer with one sentence that says what to do, so all of these raise `RecognizerError`.

# %%
from text_recognizer.errors import RecognizerError

bomb = io.BytesIO()
Image.new("1", (9000, 9000)).save(bomb, "PNG")
for source in ["README.md", "no/such/page.png", b"", data[:2000], bomb.getvalue()]:
    try:
        load_image(source)
    except RecognizerError as error:
        print(error)

# %% [markdown]
# Pixels are counted from the file's header, before anything is decoded. All such limits are in one
# module, [`text_recognizer/limits.py`](../text_recognizer/limits.py), and apply to the command line
# and every service.

# %% [markdown]
# ## 2. Normalize the page: paper becomes 0, ink becomes 1
#
# A network can learn to ignore lighting and paper, but it is cheaper to remove them first. What
# remains says how much ink is at each pixel: 0 is paper, 1 is full ink. The page becomes a tensor
# of shape (batch, channels, height, width). In this example, the photographer's hand casts a shadow
# on it.

# %%
import numpy as np
import torch.nn.functional as F
from torch import Tensor

page = torch.from_numpy(np.array(load_image(PAGE).page))[None, None]
shadowed = draw.under_a_shadow(page)[None, None]
print("page:", tuple(page.shape), page.dtype)
for x in (60, 340):
    level = float(shadowed[0, 0, :, x - 20 : x + 20].quantile(0.9))
    print(f"paper around x = {x}: gray level {level:.0f}")

# %% [markdown]
# No single threshold separates ink from paper here: one that keeps thin strokes in the light turns
# the whole shadow into ink. But near every stroke there is paper, and it is the brightest thing
# around.

# %% [markdown]
# ### Exercise 2: How bright is the paper here? (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●○○
#
# Estimate the paper's gray level at each pixel, including under the ink: take the brightest level
# in a neighbourhood of the pixel, then average these levels over a neighbourhood of the same size,
# because light changes smoothly. At the page's edges, count only what is on the page.


# %% tags=["exercise"]
def paper_of(page: Tensor, size: int = 25) -> Tensor:
    """The gray level of the paper at each pixel.

    Args:
        page: (1, 1, H, W) float, gray levels, dark ink on light paper.
        size: px, odd; width and height of the neighbourhood, in both steps.

    Returns:
        (1, 1, H, W): the brightest level within size x size px, averaged over size x size px.
    """
    ### BEGIN SOLUTION
    half = size // 2
    brightest = F.max_pool2d(page, size, stride=1, padding=half)
    return F.avg_pool2d(brightest, size, stride=1, padding=half, count_include_pad=False)
    ### END SOLUTION


# %% tags=["check"]
checks.paper_of(paper_of)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Both steps are pooling with a window that moves by one pixel: `F.max_pool2d` and `F.avg_pool2d`
# with `stride=1` and a padding of half the size keep the page's shape. Max pooling pads with minus
# infinity; average pooling pads with zeros, which would darken the edges: see `count_include_pad`.
#
# </details>

# %%
paper = paper_of(shadowed)
ink = ((paper - shadowed) / paper).clamp(0, 1)  # the share of the light that the ink absorbs
figures.show(
    draw.gallery([shadowed, paper, 255 - 255 * ink], ["page", "paper_of(page)", "ink (dark is 1)"]),
    "Figure 4. The shadow is in the paper, too, so dividing by the paper removes it.",
    "A page whose left side is dark, its paper as a smooth shade, and ink on even white.",
    width=600,
)

# %% [markdown]
# The writing is as strong in the shadow as in the light. One assumption is left: that ink is darker
# than paper. On a blackboard or in a phone's dark mode it isn't. You can't tell the two kinds of
# page apart by their brightness (in the output below, a page in a dim room is darker than a board).
# But ink is rare: compare each pixel with the mean around it, and the few that are far from it are
# ink. The mean *cube* of these differences is negative if those pixels are dark, and positive if
# they are light.

# %%
dim = 10 + 0.15 * page.float()
for name, gray in (("page", page), ("dim page", dim), ("blackboard", 255 - page)):
    gray = gray.float()
    difference = gray - F.avg_pool2d(gray, 31, 1, 15, count_include_pad=False)
    lean = "positive: light ink" if (difference**3).mean() > 0 else "negative: dark ink"
    print(f"{name}: mean gray {gray.mean():.0f}, mean cube {lean}")

# %% [markdown]
# The library's `normalize_page` does all this, and scales by the strongest ink on the page, so that
# a hard pencil counts as much as a felt pen. It subtracts the paper, while you divided by it: ink
# in a shadow stays a little paler, but dark corners don't become noise. It returns the ink of the
# whole page, from which strips are cut, and a small *overview*, in which the lines are found.

# %%
from text_recognizer.models.normalization import normalize_page

looks = [shadowed, 255.0 - page, draw.faint(page)[None, None]]
pictures = looks + [255 - 255 * normalize_page(look)[0] for look in looks]
figures.show(
    draw.gallery(pictures, ["shadow", "board", "pencil"] * 2, height=170),
    "Figure 5. Three pages before (above) and after normalize_page (below).",
    "Above: dark writing half in a shadow, light writing on black, pale writing on gray. Below: "
    "dark writing on white three times.",
    width=430,
)

# %%
texts = recognizer.predict_batch([draw.as_picture(look) for look in looks])
print("all three give the text of the page:", all(text == reading.text for text in texts))

# %% [markdown]
# ## 3. Where are the lines?
#
# The `LineFinder` is a small network (0.25 million weights) that looks at the overview and draws a
# **ridge** along the middle of each line: close to 1 on the line, falling to 0 well before the next
# one. Its output is a coarse map with one cell for every 4 x 8 px of the overview. Two more outputs
# say how far the writing reaches above and below the ridge, in rows of the map.

# %%
from text_recognizer.weights import load_paragraph_reader

network = load_paragraph_reader()  # the same weights, as a Python module
ink, overview = normalize_page(page)
sizes = torch.tensor([overview.shape[2:]])
room = [0, -overview.shape[3] % 8, 0, -overview.shape[2] % 4]  # pad to whole cells
middle, above, below = network.finder(F.pad(overview, room), sizes)
ridges = middle.sigmoid()[0]
print("overview:", tuple(overview.shape), "map:", tuple(ridges.shape))

# %%
square = ridges.repeat_interleave(2, dim=1)  # cells are twice as wide as they are high
figures.show(
    draw.gallery([page, 255 - 255 * square], ["page", "ridge map (dark is 1)"], height=300),
    "Figure 6. One ridge for each line of writing, as long as the writing is.",
    "Left, the page with eight lines; right, eight dark bands, each at the place of a line.",
    width=500,
)

# %% [markdown]
# Look at one column of the map from top to bottom: its profile has a hill wherever the column
# crosses a line. To count the lines there, count the hills.

# %% [markdown]
# ### Exercise 3: Count the lines that a column crosses (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●○○
#
# Return the rows in which a column of the map peaks. A row is a peak if its value is at least
# `least`, greater than that of the row above, and not less than that of the row below, so that a
# flat top of two equal rows counts once. Outside the map, every value is 0.


# %% tags=["exercise"]
def lines_in_column(column: Tensor, least: float = 0.4) -> list[int]:
    """The rows, from top to bottom, in which a column of the ridge map peaks.

    Args:
        column: (rows,) values in [0, 1].
        least: lower peaks don't count.
    """
    ### BEGIN SOLUTION
    values = [0.0, *column.tolist(), 0.0]
    triples = zip(values, values[1:], values[2:], strict=False)
    return [
        row
        for row, (up, here, down) in enumerate(triples)
        if here >= least and here > up and here >= down
    ]
    ### END SOLUTION


# %% tags=["check"]
checks.lines_in_column(lines_in_column)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Put a 0 before and after the values. Then each row has two neighbours: row `r` is now at `r + 1`.
#
# </details>

# %%
column = 40
peaks = lines_in_column(ridges[:, column])
figures.show(
    draw.column_profile(255 - 255 * ink, ridges, column, peaks),
    "Figure 7. The column crosses eight lines, and the profile has eight peaks above 0.4.",
    "Left, the page with a dashed vertical line; right, a curve with eight marked peaks.",
    width=600,
)
counts = [len(lines_in_column(each)) for each in ridges.T]
print("lines crossed by each column:", *counts)

# %% [markdown]
# No single column shows how many lines a page has: some lines start further right than others, or
# end earlier. So ridges are **traced**. From column to column, a peak is joined to the line whose
# course it continues. A line that breaks off and goes on at the same height further right is still
# one line. The code is in [`line_tracing.py`](../text_recognizer/models/line_tracing.py); it needs
# no training.

# %%
from text_recognizer.models.line_tracing import trace_lines

paths, edges = trace_lines(ridges, (above + below)[0])
figures.show(
    draw.traced_ridges(ridges, paths, edges),
    "Figure 8. The traced paths on the ridge map, each from its first column to its last.",
    "Eight dashed paths with numbers from 1 at the top to 8 run along the bands of the map.",
    width=600,
)
print("columns of the fourth line:", *edges[3].tolist())

# %% [markdown]
# The tracing loop runs as many times as the page has lines. That is why the model is *scripted* and
# not traced by `torch.jit.trace`, which would freeze the loop as it ran on one example: [notebook
# 01](01_checkpoint_to_torchscript.ipynb) shows how that fails.

# %% [markdown]
# ## 4. Strips: a wavy line becomes straight
#
# The line reader expects strips 48 px high, in which the writing is level. Paper that curls gives
# wavy lines instead. Here is one, with the paths that follow it:

# %%
wavy = draw.waved(Image.open("data/pages/show_font_003.jpg"), height=18, length=560)
wavy_reading = recognizer.read(wavy)
figures.show(
    draw.lines_found(wavy, wavy_reading.lines),
    "Figure 9. A page that waves, and the lines found on it.",
    "Five handwritten lines bend down by about the height of a line; the strokes follow them.",
    width=480,
)

# %% [markdown]
# A box around such a line contains parts of its neighbours. So instead of cutting out a box, we
# **sample** the page: for each pixel of the strip, say where on the page to look. `F.grid_sample`
# takes these positions as a *grid* and blends the four pixels around each.
#
# It expects positions in its own unit: -1 is the left or upper **edge** of the page, +1 the
# opposite edge (with `align_corners=False`). So, measured in pixels, pixel 0 covers 0 to 1 and its
# centre is at **0.5**. If you forget this half pixel, every strip is shifted.

# %% [markdown]
# ### Exercise 4: The sampling grid along a path (20 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●○
#
# The strip's columns follow the path: column `c` looks at the x of point `c`. Its rows share the
# space from `reach` above the path's y to `reach` below; each row looks at its own centre. So with
# `height` 2 and `reach` 10, the two rows look 5 px above the path and 5 px below it.


# %% tags=["exercise"]
def strip_grid(path: Tensor, reach: float, height: int, page_size: tuple[int, int]) -> Tensor:
    """Where on the page each pixel of a strip is looked up, for F.grid_sample.

    Args:
        path: (W, 2) x and y of the line's middle, for each column of the strip, in px of the page.
        reach: px of the page that the strip holds above and below the path.
        height: rows of the strip.
        page_size: the page's height and width in px.

    Returns:
        (1, height, W, 2) x and y, from -1 to 1 on the page (align_corners=False).
    """
    ### BEGIN SOLUTION
    rows = (torch.arange(height) + 0.5) / height  # centres, from 0 to 1
    offset = reach * (2 * rows - 1)
    y = path[None, :, 1] + offset[:, None]
    x = path[None, :, 0].expand_as(y)
    page_height, page_width = page_size
    return torch.stack([2 * x / page_width - 1, 2 * y / page_height - 1], dim=2)[None]
    ### END SOLUTION


# %% tags=["check"]
checks.strip_grid(strip_grid)

# %% [markdown]
# <details><summary>Hint</summary>
#
# First write x and y in px, both of the shape (height, W): y is the path's y plus an offset for
# each row. The centre of row `r` lies at `(r + 0.5) / height` of the strip's height, counted from
# its upper edge. Then scale each to -1 ... 1: an edge at 0 px becomes -1, one at `page_width` px
# becomes 1.
#
# </details>

# %% [markdown]
# Try it on the fourth line. Its path has 16 points, so first it is interpolated to one point for
# each column of the strip; the strip has the same aspect ratio as the line.

# %%
line = wavy_reading.lines[3]
points = torch.tensor(line.path).T[None]  # (1, 2, 16): x and y
length = float(points[0, 0, -1] - points[0, 0, 0])
width = round(length * 48 / line.height / 8) * 8  # px, and whole frames for the reader
path = F.interpolate(points, size=width, mode="linear", align_corners=True)[0].T
print(f"a line {length:.0f} px long and {line.height:.0f} px high becomes a strip {width} x 48")

# %% [markdown]
# Cut the strip twice: along a level line at the mean height of the path, and along the path itself.

# %%
wavy_ink, _ = normalize_page(torch.from_numpy(np.array(wavy))[None, None])
level = torch.stack([path[:, 0], path[:, 1].mean().expand(width)], dim=1)
grids = [strip_grid(p, line.height / 2, 48, wavy_ink.shape[2:]) for p in (level, path)]
pair = torch.cat([1 - 2 * F.grid_sample(wavy_ink, g, align_corners=False) for g in grids])
figures.show(
    draw.strip_sheet(pair, [width, width], ["level", "path"]),
    "Figure 10. The same line, cut along a level line and along its path.",
    "Above, the writing leaves the strip at the top and at the bottom; below, it runs level.",
    width=600,
)

# %% [markdown]
# `cut_strips` in [`strips.py`](../text_recognizer/models/strips.py) does this for all lines at
# once, and tilts the rows with the path's slope, so that letters are upright. Strips of short lines
# are padded with white, because a batch is one tensor.

# %%
from text_recognizer.models.strips import MARGIN, cut_strips

line_paths = torch.tensor([line.path for line in reading.lines])  # (8, 16, 2)
reach = torch.tensor([line.height for line in reading.lines]) / MARGIN / 2
starts, ends = line_paths[:, 0, 0], line_paths[:, -1, 0]
strips, widths = cut_strips(ink, line_paths, starts, ends, reach, reach)
print("batch:", tuple(strips.shape), "own widths:", *widths.tolist())

# %%
figures.show(
    draw.strip_sheet(strips, widths.tolist(), [str(n) for n in range(1, 9)]),
    "Figure 11. All lines of the page, straight, 48 px high, each with its own width.",
    "Eight strips of writing below each other, numbered 1 to 8.",
    width=480,
)

# %% [markdown]
# ## 5. From frames to characters: CTC
#
# The `LineReader` (3 million weights) looks at a strip and outputs, for every 8 px of width, one
# **frame**: a probability for each of 96 classes. 95 of them are the printable ASCII characters;
# class 0 is the **blank**, which means "nothing new here". The training data never said where each
# letter is. CTC (Connectionist Temporal Classification, Graves et al. 2006) adds up all the ways in
# which the frames could spell the text, so the label of the line is enough.

# %%
from text_recognizer.vocabulary import TOKENS

strip = strips[2:3, :, :, : widths[2]]
probabilities = network.reader(strip).softmax(2)[0]
print("frames and classes:", tuple(probabilities.shape))
figures.show(
    draw.ctc_heat_map(strip, probabilities, TOKENS),
    "Figure 12. The third line: what each frame says (dark is sure), and below its best class.",
    "Dark cells climb and fall through the letters of the line, mostly with blanks in between.",
)

# %% [markdown]
# Read the lowest row: dots are blanks, open boxes are spaces. The network is sure almost
# everywhere, and most letters are one dark cell followed by a blank. Some last two frames. And look
# at *will*: there is a blank between its two *l*s, and it must be there.

# %% [markdown]
# ### Exercise 5: Greedy CTC decoding (10 minutes)
#
# Difficulty ●●○○○ · Importance ●●●●●
#
# **Greedy** means taking the best class of each frame without looking any further. Turn these best
# classes into the classes of the line: of neighbouring frames with the same class, only the first
# counts, and blanks are dropped.


# %% tags=["exercise"]
def greedy_decode(classes: list[int], blank: int = 0) -> list[int]:
    """The classes that a line consists of.

    Args:
        classes: the best class of each frame.
        blank: the class that means no character.
    """
    ### BEGIN SOLUTION
    decoded, before = [], blank
    for now in classes:
        if now != before and now != blank:
            decoded.append(now)
        before = now
    return decoded
    ### END SOLUTION


# %% tags=["check"]
checks.greedy_decode(greedy_decode)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Compare each frame with the frame before it, *including* blanks. If you remove the blanks first,
# "ll" becomes one letter, because nothing separates the two any more.
#
# </details>

# %%
best, classes = probabilities.max(1)
tokens = greedy_decode(classes.tolist())
print("frames:", "".join(draw.sign(TOKENS[c]) for c in classes.tolist()))
print("tokens:", *tokens[:8], "...")
print("text:  ", "".join(TOKENS[token] for token in tokens))
no_blanks = [c for c in classes.tolist() if c != 0]
print("blanks dropped first:", "".join(TOKENS[t] for t in greedy_decode(no_blanks)))

# %% [markdown]
# The last line shows the trap: without its blank, *will* is read as *wil*.

# %% [markdown]
# ## 6. From tokens to a text, and how sure it is
#
# The numbers that represent characters are **tokens**. When lines become a page, two more are added
# to the reader's classes: a newline between lines, and a padding token that fills up short texts,
# because a batch of texts is one tensor too. The network's `forward` takes several pages with their
# sizes and returns tokens.

# %%
names = ["data/pages/show_font_002.jpg", "data/pages/show_font_004.jpg"]
two = [np.array(load_image(name).page) for name in names]
sizes = torch.tensor([page.shape for page in two])
batch = torch.full((2, 1, *sizes.amax(0).tolist()), 255, dtype=torch.uint8)
for row, own in zip(batch, two, strict=True):
    row[0, : own.shape[0], : own.shape[1]] = torch.from_numpy(own)
print("batch:", tuple(batch.shape), "of pages of the sizes", sizes.tolist())

# %%
ids = network(batch, sizes)
print("tokens:", tuple(ids.shape))
for row in ids.tolist():
    print(*row[18:30], "...", repr("".join(TOKENS[t] for t in row if TOKENS[t] != "<pad>")))

# %% [markdown]
# Token 96 is the newline, 97 the padding; a character's token is its ASCII code minus 31. The
# script has the attributes `tokens` and `ignored`, so the file needs no separate vocabulary.
#
# A service should also say how much to trust a line. The simplest measure that works is the mean
# probability of the frames that produced a character.

# %%
before = F.pad(classes[:-1], [1, 0])  # the first frame has a blank before it
emitted = (classes != 0) & (classes != before)
print(f"{int(emitted.sum())} characters, mean probability {best[emitted].mean():.2f}")
print(f"the recognizer's confidence in the line: {reading.lines[2].confidence:.2f}")

# %%
from text_recognizer.evaluate import load_items

labels = {item.path.name: item.text for item in load_items(Path("data/pages"), split="show")}
hard = recognizer.read("data/pages/show_font_015.jpg")
figures.show(
    draw.confidences(hard.lines, labels["show_font_015.jpg"].split("\n")),
    "Figure 13. The lines of a harder page with their confidence.",
    "A mark for each line: a circle if it was read right, a cross if not.",
    width=600,
)

# %% [markdown]
# A cross to the right of a circle means that the network is more sure of a wrong line than of a
# correct one. For example, this writer draws *n* as a small capital. Anyone reading an *N* there is
# sure of what is on the paper; only the label says otherwise. **Confidence says how sure the
# network is, not whether it is right.** It helps you choose which lines a person should check
# first, but it isn't an error rate.

# %% [markdown]
# ## 7. How good is it? The character error rate
#
# To know what is right you need a label. The **character error rate** (CER) is the smallest number
# of edits that turn the reading into the label, divided by the label's length. An edit inserts,
# deletes or replaces one character; a newline is a character like any other.

# %% [markdown]
# ### Exercise 6: Character error rate (20 minutes)
#
# Difficulty ●●●●○ · Importance ●●●●●
#
# Comparing position by position fails at the first missing character, because everything after it
# is shifted. Fill a table instead (dynamic programming, Levenshtein distance): the cell for the
# first `i` characters of the reading and the first `j` of the label holds the fewest edits between
# the two. It follows from its three neighbours: above, left, and above left.


# %% tags=["exercise"]
def character_error_rate(reading: str, label: str) -> float:
    """The fewest edits that turn the reading into the label, divided by the label's length.

    If the label is empty, it is the number of edits itself.
    """
    ### BEGIN SOLUTION
    above = list(range(len(label) + 1))  # an empty reading lacks all characters
    for i, read in enumerate(reading, start=1):
        row = [i]
        for j, wanted in enumerate(label, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (read != wanted)))
        above = row
    return above[-1] / max(len(label), 1)
    ### END SOLUTION


# %% tags=["check"]
checks.character_error_rate(character_error_rate)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Keep two rows of the table. The first row is 0, 1, 2, ...: with nothing read, all characters of
# the label must be inserted. Each further row starts with `i`. A cell is the smallest of: the cell
# above + 1, the cell to the left + 1, and the cell above left, + 1 if the two characters differ.
#
# </details>

# %%
chosen = [f"show_font_{n}.jpg" for n in ("000", "003", "008", "005", "015", "006")]
readings = recognizer.read_batch([f"data/pages/{name}" for name in chosen])
rates = [character_error_rate(r.text, labels[n]) for r, n in zip(readings, chosen, strict=True)]

# %%
figures.show_table(
    [
        (name, labels[name].count("\n") + 1, len(r.lines), len(labels[name]), f"{rate:.3f}")
        for name, r, rate in zip(chosen, readings, rates, strict=True)
    ],
    ["page", "lines", "lines found", "characters", "CER"],
    "Table 1. Six sample pages: what was written, what was found, and the error rate.",
)

# %%
lengths = [len(labels[name]) for name in chosen]
edits = [rate * length for rate, length in zip(rates, lengths, strict=True)]
print(f"mean of the six rates: {sum(rates) / len(rates):.3f}")
print(f"all edits over all characters: {sum(edits) / sum(lengths):.3f}")

# %% [markdown]
# In the mean of the rates, a page of 19 characters counts as much as one of 248. Papers and [`lab
# evaluate`](../text_recognizer/metrics.py) therefore divide all edits by all characters. A number
# says that something is wrong; a picture says what. Here is the worst page:

# %%
worst = chosen[rates.index(max(rates))]
worst_reading = readings[chosen.index(worst)]
figures.show(
    draw.lines_found(Image.open(f"data/pages/{worst}"), worst_reading.lines),
    "Figure 14. The page with the highest rate, with the lines found on it.",
    f"A page of handwriting; strokes through its lines: {len(worst_reading.lines)}.",
    width=460,
)
print("label:  ", labels[worst])
print("reading:", worst_reading.text)

# %% [markdown]
# Count the strokes. A line with two strokes, or with none, is an error of the *finder*: a line that
# is read twice adds extra text, which is how a CER can exceed 1. If each line has one stroke but
# letters are wrong, that is an error of the *reader*. Two stages, two kinds of errors, two fixes:
# that is why you must be able to look at each stage.

# %% [markdown]
# ## 8. A language model: what English knows
#
# A person who reads *sivce dinner* knows that it means *since*. The reader knows letters but no
# words. A **language model** says how likely each character is after the ones before it; the lab's
# small one learned this by counting in English speeches and old books. A list of common words
# beside it says whether what was spelled is a word. Both are used while a line is decoded. Instead
# of decoding greedily, a **beam search** keeps several beginnings of the line, adds up all paths of
# frames that spell the same text, and weighs each with the language model's score.
#
# With a language model, a line with low confidence is also read a second time, from a strip with a
# wider margin. There the same writing is smaller, and the network makes different errors. Each of
# the two readings proposes texts, and the text that both find likely wins.

# %%
with_english = packaged_recognizer(language_model="english")
again = with_english.read_batch([f"data/pages/{name}" for name in chosen])
rows = []
for name, letters, english in zip(chosen, readings, again, strict=True):
    both = [character_error_rate(one.text, labels[name]) for one in (letters, english)]
    rows.append([name, *[f"{rate:.3f}" for rate in both]])
columns = ["page", "CER, letters only", "CER, with English"]
figures.show_table(rows, columns, "Table 2. The same pages, read without and with English.")

# %% [markdown]
# The finder's errors remain: no language model removes a line that was found twice. And the
# improvement has a price. It takes time, and it favours what is usual: a name, a number or a rare
# sign that was read correctly may become an English word, or vanish. (So the recognizer trusts the
# language model less on pages that don't look like prose.) To keep every slip of the pen, turn it
# off. Confidence still comes from the frames of the first reading; it knows nothing about words.

# %% [markdown]
# ## 9. The class and the command
#
# All of this is behind four methods of `ParagraphTextRecognizer`: `predict(image)` returns a text,
# `read(image)` returns a `PageReading` with its lines, and `predict_batch` and `read_batch` do the
# same for many images. A batch may save time. The results are the same as one by one, because
# padding is masked at every stage.

# %%
images = [PAGE, wavy, "data/pages/show_font_002.jpg"]
one_by_one = [recognizer.predict(image) for image in images]
print("the same one by one and in a batch:", one_by_one == recognizer.predict_batch(images))
line = reading.lines[2]
print(f"text: {line.text!r}, confidence: {line.confidence:.2f}")
print("path:", len(line.path), "points, from", *[f"{round(v):d}" for v in line.path[0]])
print("box:", *[f"{round(v):d}" for v in line.box], "height:", round(line.height))

# %% [markdown]
# Positions are in pixels of the image that was sent, turned upright, so that a web page can draw
# them on it. The command line is a thin layer over the same class. It reads with the English
# language model, as the lab's app and services do, unless you add `--language-model none`. Lines
# starting with `!` run in a shell:

# %%
# !lab read data/pages/show_font_004.jpg --model {MODEL} --overlay .lab/lines.png

# %%
figures.show(
    Image.open(".lab/lines.png"),
    "Figure 15. What --overlay drew.",
    "Two handwritten lines on gray paper with a numbered stroke through each.",
    width=480,
)

# %% [markdown]
# `--json` is for programs: it prints one object for each image.

# %%
import json

# !lab read data/pages/show_font_004.jpg --model {MODEL} --json > .lab/reading.json
answer = json.loads(Path(".lab/reading.json").read_text())
print("keys:", *answer, "| of a line:", *answer["lines"][0])
print([line["text"] for line in answer["lines"]])

# %% [markdown]
# A server that only reads doesn't need a training library or a command line. So the class has its
# own small command, which needs only torch and Pillow. If a file can't be read, either command
# prints one line on stderr and exits with code 2:

# %%
# !python -m text_recognizer.paragraph_text_recognizer data/pages/show_font_002.jpg
# !lab read README.md --model {MODEL}

# %% [markdown]
# ## 10. Your own handwriting
#
# Write a few lines of English and take a photo of them:
#
# - one paragraph that fills the picture, no drawings and no tables;
# - paper flat, phone above the middle of it, lines about level;
# - daylight or two lamps, no flash; a shadow is fine, blur isn't;
# - a pen rather than a hard pencil, and blank or ruled paper rather than squared.
#
# On Colab the next cell shows an upload button (if you cancel, a sample page is read). In
# JupyterLab, first put the picture into the folder `notebooks/my_pages`, which git ignores. HEIC
# photos from iPhones need the package `pillow-heif`, which `make lab` installs. On Colab, export
# them as JPEG, or choose "Most Compatible" in the camera's settings.

# %% tags=["nbval-ignore-output"]
from lab_utils.students_page import students_page

mine = students_page()

# %% tags=["nbval-ignore-output"]
upright = load_image(mine)
mine_read = with_english.read(mine)
figures.show(
    draw.lines_found(upright.page, mine_read.lines, upright.page.width / upright.width),
    "Figure 16. Your page, with the lines found on it.",
    "A page of handwriting with a numbered stroke through each line that was found.",
    width=480,
)
print(mine_read.text)

# %% [markdown]
# Check it as in section 7. Is every line numbered once? If not, the light, squared paper or
# bleeding ink may have confused the finder. Are the lines found but letters wrong? Then the reader
# doesn't know your handwriting yet. The [weights' card](../data/weights/README.md) says how often
# that happens with writers it has never seen.

# %% [markdown]
# ## Summary
#
# - What users send is turned upright, put on white paper, limited in size, or refused in one
#   sentence.
# - Normalizing removes the lighting, the paper, and whether the ink is dark or light, before any
#   network looks at the page.
# - A network draws one ridge per line, tracing follows it, sampling straightens it, and half a
#   pixel matters.
# - CTC needs no positions in training; decoding first collapses repeats, then drops blanks.
# - Confidence needs no label but isn't an error rate; the CER needs a label and is the number of
#   edits divided by the number of characters.
# - A language model corrects what is hard to see, and favours what is usual.
# - One class hides all this behind `predict(image)`. The result is the same from Python and from
#   the shell, for one page and in a batch.

# %% [markdown]
# ## What to try next
#
# - Wave the page of section 4 more strongly with `height=40`. At which height do lines begin to
#   break into pieces, and what in Figure 8 would you look at to understand why?
# - Read `show_font_015.jpg` and `show_font_005.jpg` with and without English, and compare line by
#   line. What did it correct, and what did it spoil?
# - Read several of your own pages with `--json`, sort all their lines by confidence, and see how
#   far down the list the errors go.
# - **Next:** [Batch size: measured on your machine](04_batch_size_profiling.ipynb): what a batch
#   of pages gains, and where a page's milliseconds go.
