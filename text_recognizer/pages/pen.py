"""Lines from pen strokes: UNIPEN's writers, drawn with a pen of our choice (CC BY 4.0).

UNIPEN's words were written one by one, each on its own baseline. A line is put together from one
writer's words with the baselines and the sizes lined up, or is one of the lines of text that
writers wrote whole.
"""

import gzip
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from text_recognizer.pages.handwriting import splits, wanted
from text_recognizer.pages.ink import InkLine, crop_to_ink, reach, with_reach_of_the_hand
from text_recognizer.places import lab_folder
from text_recognizer.vocabulary import CHARACTERS

NONSENSE_SOURCES = {"lav", "rim"}  # strings of random letters
# File, what its items are, and the height (in words) above which one holds several lines.
FILES = (
    ("unipen_words", "word", 2.2),
    ("unipen_words_punct", "word", 2.2),
    ("unipen_text", "line", 1.9),
    ("unipen_chars", "sign", 2.2),
)
CACHE_FORMAT = 3
LONGEST_LINE = 45  # heights of the writing: what is longer fits on no page
# Single signs were written in boxes: how far above (-) the baseline they belong, in x-heights.
SIGN_HEIGHTS = (
    dict.fromkeys("-+=*~", -0.3) | dict.fromkeys("'\"^`", -1.3) | dict.fromkeys(",;_", 0.3)
)
SUPERSAMPLING = 2  # Pillow draws lines without antialiasing


@dataclass(frozen=True)
class Item:
    """One word, line or sign of a writer; strokes are (n, 2) int16 arrays of x and y, y down."""

    text: str
    strokes: tuple[np.ndarray, ...]
    baseline: float
    x_height: float
    width: float


@dataclass
class Writer:
    name: str
    words: list[Item]
    lines: list[Item]
    signs: dict[str, list[Item]]  # single digits, capitals and symbols, by character
    x_height: float = 0.0
    pitch: float = 0.0  # from letter to letter


def _turning_points(strokes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Heights (y) where the pen turned up again (lower) and where it turned down (upper)."""
    lower, upper = [], []
    for stroke in strokes:
        y = stroke[:, 1].astype(np.float64)
        if len(y) < 3:
            lower.extend(y)
            upper.extend(y)
            continue
        before, here, after = y[:-2], y[1:-1], y[2:]
        lower.extend(here[(here >= before) & (here > after)])
        upper.extend(here[(here <= before) & (here < after)])
        lower.append(y[[0, -1]].max())
        upper.append(y[[0, -1]].min())
    return np.asarray(lower), np.asarray(upper)


def _measure(text: str, strokes: list[np.ndarray]) -> Item | None:
    """The item with its baseline and x-height, None where its strokes make no sense.

    Most letters of a word rest on the baseline and most reach the x-height, so the medians of the
    pen's lower and upper turning points find both, whatever loops hang below or stand above.
    """
    lower, upper = _turning_points(strokes)
    if not len(lower) or not len(upper):
        return None
    xs = np.concatenate([stroke[:, 0] for stroke in strokes])
    left, width = float(xs.min()), float(np.ptp(xs))
    ys = np.concatenate([stroke[:, 1] for stroke in strokes])
    middle = (ys.min() + ys.max()) / 2
    baseline = float(np.median(lower[lower >= min(middle, np.median(lower))]))
    x_line = float(np.median(upper[upper < baseline])) if (upper < baseline).any() else baseline - 1
    moved = tuple((stroke - [left, 0]).astype(np.int16) for stroke in strokes)
    x_height = max(baseline - x_line, 1.0)
    # A letter narrower than a fifth of its height: lines on top of each other, or a wrong label.
    if len(text) > 3 and width < 0.2 * len(text) * x_height:
        return None
    return Item(text, moved, baseline, x_height, width)


def as_written(label: str) -> str:
    """A label of a line without the spaces that its transcriber put between tokens.

    `Prudence , Mike 2 8 7 4 7` was written `Prudence, Mike 28747`.
    """
    label = re.sub(r"(?<!\S)\d(?: \d){2,}(?!\S)", lambda m: m[0].replace(" ", ""), label)
    label = re.sub(r" ([,.;:!?)\]}%])", r"\1", label)
    label = re.sub(r"([(\[{$#]) ", r"\1", label)
    return re.sub(r"(?<=\d) - (?=\d)", "-", label)


def _parse(folder: Path) -> Iterator[tuple[str, str, Item]]:
    """Every usable item of UNIPEN as (writer, kind, item); kind is word, line or sign."""
    for stem, kind, tall in FILES:
        with gzip.open(folder / f"{stem}.jsonl.gz", "rt") as file:
            for row in map(json.loads, file):
                text = " ".join(row["t"].replace("\\@", "").split())
                if row["o"] in NONSENSE_SOURCES or row["h"] >= tall or not text:
                    continue
                if any(character not in CHARACTERS for character in text):
                    continue
                if kind == "line":
                    text = as_written(text)
                if kind == "sign" and (len(text) > 1 or text.islower()):
                    continue
                item = _measure(
                    text, [np.asarray(s, np.int16).reshape(-1, 2) for s in row["s"] if s]
                )
                if item is not None:
                    yield f"{row['o']}/{row['w']}", kind, item


def _write_cache(folder: Path, cache: Path) -> None:
    """Stores what `_parse` finds as flat arrays: parsing takes a minute, and every worker reads."""
    rows, points, lengths = [], [], []
    source = tqdm(_parse(folder), desc="reading UNIPEN once", unit="item", mininterval=1)
    for writer, kind, item in source:
        rows.append([writer, kind, item.text, item.baseline, item.x_height, item.width])
        lengths.append([len(stroke) for stroke in item.strokes])
        points.extend(item.strokes)
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache.parent, suffix=".partial", delete=False) as file:
        np.savez(
            file,
            rows=np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8),
            points=np.concatenate(points),
            strokes=np.concatenate(lengths).astype(np.int32),
            items=np.asarray([len(item) for item in lengths], dtype=np.int32),
        )
    Path(file.name).replace(cache)


def _read(folder: Path) -> Iterator[tuple[str, str, Item]]:
    cache = lab_folder() / "cache" / f"unipen-{CACHE_FORMAT}.npz"
    if not cache.exists():
        _write_cache(folder, cache)
    with np.load(cache, allow_pickle=False) as arrays:
        rows = json.loads(arrays["rows"].tobytes())
        points, strokes, items = arrays["points"], arrays["strokes"], arrays["items"]
    stroke_ends = np.cumsum(strokes).tolist()
    stroke = start = 0
    for row, count in zip(rows, items.tolist(), strict=True):
        paths = []
        for end in stroke_ends[stroke : stroke + count]:
            paths.append(points[start:end])
            start = end
        stroke += count
        yield row[0], row[1], Item(row[2], tuple(paths), *row[3:])


def read_writers(folder: Path, split: str) -> list[Writer]:
    """UNIPEN's writers of a split (`train` or `validation`) who wrote enough for a page."""
    kept_out = splits()["unipen_validation"]
    names: dict[str, Writer] = {}
    for name, kind, item in _read(folder):
        writer = names.setdefault(name, Writer(name, [], [], defaultdict(list)))
        if kind == "word":
            writer.words.append(item)
        elif kind == "line":
            writer.lines.append(item)
        else:
            writer.signs[item.text].append(item)
    writers = []
    for one in names.values():
        letters = [i.x_height for i in one.words + one.lines if len(i.text) > 2]
        if len(one.words) + 3 * len(one.lines) < 40 or not letters:
            continue
        if wanted(one.name, kept_out, split):
            one.x_height = float(np.median(letters))
            one.pitch = float(np.median([i.width / len(i.text) for i in one.words + one.lines]))
            # Much narrower than the hand: words one below the other, or a label of other words.
            one.words = [i for i in one.words if i.width > 0.4 * one.pitch * len(i.text)]
            one.lines = [i for i in one.lines if i.width > 0.4 * one.pitch * len(i.text)]
            writers.append(one)
    return sorted(writers, key=lambda w: w.name)


class PenSource:
    """Writes lines with one UNIPEN writer's strokes."""

    kind = "pen"

    def __init__(self, folder: Path, split: str) -> None:
        self.writers = read_writers(folder, split)
        # A writer with much material is seen more often, but does not drown out the others.
        amount = [(len(w.words) + 4 * len(w.lines)) ** 0.5 for w in self.writers]
        self.weights = np.asarray(amount) / sum(amount)

    def write(
        self, rng: np.random.Generator, num_lines: int, height: float
    ) -> tuple[str, list[InkLine]]:
        """A writer's name and `num_lines` lines whose writing is about `height` px high."""
        writer = self.writers[rng.choice(len(self.writers), p=self.weights)]
        x_height = height * rng.uniform(0.3, 0.42)
        pen = max(height * rng.uniform(0.025, 0.075), 0.9)
        slant = float(rng.normal(0, 0.12))
        stretch = float(rng.uniform(0.85, 1.2))
        spacing = float(rng.uniform(0.9, 2.4))
        length = int(rng.integers(12, 56))
        whole = bool(writer.lines) and (not writer.words or rng.random() < 0.6)
        lines = []
        while len(lines) < num_lines:
            wanted_length = length * rng.uniform(0.3 if rng.random() < 0.12 else 0.8, 1.1)
            text, placed = (
                _whole_lines(rng, writer, wanted_length, spacing)
                if whole and rng.random() < 0.9
                else _line_of_words(rng, writer, wanted_length, spacing)
            )
            line = _draw(text, placed, x_height / writer.x_height, slant, stretch, pen)
            if line is not None and line.width < LONGEST_LINE * height:
                lines.append(line)
        return writer.name, with_reach_of_the_hand(lines)


Placed = list[tuple[Item, float, float, float]]  # item, x, y of its baseline, scale


def _whole_lines(
    rng: np.random.Generator, writer: Writer, length: float, spacing: float
) -> tuple[str, Placed]:
    """What the writer wrote in one go; short pieces are set side by side up to the length."""
    texts: list[str] = []
    placed: Placed = []
    x = 0.0
    while not texts or sum(map(len, texts)) < 0.6 * length:
        item = writer.lines[rng.integers(len(writer.lines))]
        scale = float(np.clip(writer.x_height / item.x_height, 0.4, 2.5) ** 0.8)
        placed.append((item, x, 0.0, scale))
        gap = max(writer.x_height * spacing, 1.35 * writer.pitch)
        x += item.width * scale + gap * rng.uniform(0.75, 1.3)
        texts.append(item.text)
    return " ".join(texts), placed


def _line_of_words(
    rng: np.random.Generator, writer: Writer, length: float, spacing: float
) -> tuple[str, Placed]:
    texts: list[str] = []
    placed: Placed = []
    x = end = 0.0
    source = writer.words or writer.lines
    unit = writer.x_height
    while sum(map(len, texts)) + len(texts) < length:
        if writer.signs and rng.random() < 0.15:
            text, items = _number(rng, writer)
        else:
            item = source[rng.integers(len(source))]
            text, items = item.text, [item]
        closes = bool(texts) and all(character in ",.;:!?)" for character in text)
        if closes:
            x = end + unit * 0.2
        for item in items:
            # Words written larger or smaller than usual are brought halfway to the writer's size:
            # what is left is the unevenness of a hand. One letter alone tells no size.
            own = unit / item.x_height if len(item.text) > 2 and item.text.islower() else 1.0
            scale = float(np.clip(own, 0.6, 1.6) ** 0.5)
            y = (float(rng.normal(0, 0.06)) + SIGN_HEIGHTS.get(item.text, 0.0)) * unit
            placed.append((item, x, y, scale))
            end = x + item.width * scale
            x = end + unit * rng.uniform(0.15, 0.4)
        # Whoever writes letters far apart leaves more between words: else no reader could tell.
        x += max(unit * spacing, 1.35 * writer.pitch) * rng.uniform(0.75, 1.3)
        if closes:
            texts[-1] += text
        else:
            texts.append(text)
    return " ".join(texts), placed


def _number(rng: np.random.Generator, writer: Writer) -> tuple[str, list[Item]]:
    """Digits of the writer in a row, or one capital or symbol of theirs."""
    digits = [c for c in writer.signs if c.isdigit()]
    if digits and rng.random() < 0.7:
        characters = [digits[rng.integers(len(digits))] for _ in range(rng.integers(1, 6))]
    else:
        every = sorted(writer.signs)
        characters = [every[rng.integers(len(every))]]
    items = [writer.signs[c][rng.integers(len(writer.signs[c]))] for c in characters]
    return "".join(characters), items


def _draw(
    text: str, placed: Placed, scale: float, slant: float, stretch: float, pen: float
) -> InkLine | None:
    """Draws the strokes: (x, y) in the writer's units from the line's baseline, scaled to px."""
    paths = []
    for item, x, y, own in placed:
        for stroke in item.strokes:
            points = stroke.astype(np.float64)
            points[:, 1] = (points[:, 1] - item.baseline) * own + y
            points[:, 0] = points[:, 0] * own + x - slant * points[:, 1]
            points[:, 0] *= stretch
            paths.append(_thinned(points * (scale * SUPERSAMPLING), pen))
    every = np.concatenate(paths)
    margin = pen * SUPERSAMPLING + 2
    low, high = every.min(axis=0) - margin, every.max(axis=0) + margin
    width, height = (int(np.ceil(edge)) for edge in high - low)
    if width > 4000 * SUPERSAMPLING or height > 300 * SUPERSAMPLING or min(width, height) < 4:
        return None
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    line_width = max(round(pen * SUPERSAMPLING), 1)
    radius = line_width / 2
    for points in paths:
        flat = [tuple(point) for point in points - low]
        if len(flat) > 1:
            draw.line(flat, fill=255, width=line_width, joint="curve" if line_width > 3 else None)
        for x, y in (flat[0], flat[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    image = image.reduce(SUPERSAMPLING)
    ink, _, cut = crop_to_ink(np.asarray(image))
    x_height = scale * float(np.median([item.x_height * own for item, _, _, own in placed]))
    core = -low[1] / SUPERSAMPLING - cut - x_height / 2
    above, below = reach(ink, core)
    return InkLine(ink, text, core, max(above, 0.6 * x_height), max(below, 0.6 * x_height))


def _thinned(points: np.ndarray, spacing: float) -> np.ndarray:
    """The points without those that lie closer together than the pen is wide."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    if len(points) < 3:
        return points
    bins = np.floor(np.cumsum(steps) / spacing)
    keep = np.concatenate([[True], np.diff(bins, prepend=-1) > 0])
    keep[-1] = True
    return points[keep]
