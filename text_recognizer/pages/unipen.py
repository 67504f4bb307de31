"""Reads UNIPEN's pen strokes (CC BY 4.0), writer by writer, with each item's baseline and x-height.

Parsing takes most of a minute, so what it finds is kept in the lab's folder as flat arrays.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from text_recognizer.files import replacing
from text_recognizer.pages.handwriting import LABELS_VERSION, splits, wanted
from text_recognizer.places import lab_folder
from text_recognizer.vocabulary import CHARACTERS

NONSENSE_SOURCES = {"lav", "rim"}  # strings of random letters
TOKENIZED_SOURCES = {"att", "dar", "hpb", "hpp"}  # labels with a space around every sign and digit
# They stand for a name, a signature, something crossed out: not for what was written.
PLACEHOLDERS = {"f.name", "@_SigN", "XXX"}
# File, what its items are, and the height (in words) above which one holds several lines.
FILES = (
    ("unipen_words", "word", 2.2),
    ("unipen_words_punct", "word", 2.2),
    ("unipen_text", "line", 1.9),
    ("unipen_chars", "sign", 2.2),
)
PACKED = "unipen.npz"
"""In a pack: the points as steps on a grid of GRID units, half a pixel of the largest writing."""
GRID = 2


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


def as_written(label: str, source: str = "") -> str:
    """A label of a line without the spaces that its transcriber put between tokens.

    `Prudence , Mike 2 8 7 4 7` was written `Prudence, Mike 28747`; in the sources that part even
    numbers, `at 2 : 0 0 on 3 / 2 3 / 9 2` was written `at 2:00 on 3/23/92`.
    """
    tokenized = source in TOKENIZED_SOURCES
    if tokenized:
        label = re.sub(r"(?<!\S)((?:\d )?\d) : (\d) ?(\d)(?!\S)", _joined, label)
        label = re.sub(r"(?<!\S)' (\w[^']*?) '(?!\S)", r"'\1'", label)
        label = re.sub(r"(?<=\w) ' ?(?=(?:s|t|m|d|re|ve|ll)\b)", "'", label)
        if "@" in label:  # an address
            label = re.sub(r"(?<=\w) ([@.]) (?=\w)", r"\1", label)
    fewest = 2 if tokenized else 3  # digits that are one number; two may be two
    label = re.sub(rf"(?<!\S)\d(?: \d){{{fewest - 1},}}(?!\S)", _joined, label)
    if tokenized:
        label = re.sub(r"(?<=\d) (?=(?:st|nd|rd|th)\b)", "", label)
    label = re.sub(r" ([,.;:!?)\]}%])", r"\1", label)
    label = re.sub(r"([(\[{$#]) ", r"\1", label)
    label = re.sub(r"(?<=\d) - (?=\d)", "-", label)
    return re.sub(r"(?<=\d) / (?=\d)", "/", label) if tokenized else label


def _joined(match: re.Match[str]) -> str:
    return match[0].replace(" ", "")


def _parse(folder: Path) -> Iterator[tuple[str, str, Item]]:
    """Every usable item of UNIPEN as (writer, kind, item); kind is word, line or sign."""
    for stem, kind, tall in FILES:
        with gzip.open(folder / f"{stem}.jsonl.gz", "rt") as file:
            for row in map(json.loads, file):
                text = " ".join(row["t"].replace("\\@", "").replace("&&", "&").split())
                if row["o"] in NONSENSE_SOURCES or row["h"] >= tall or not text:
                    continue
                if not PLACEHOLDERS.isdisjoint(text.split()):
                    continue
                if any(character not in CHARACTERS for character in text):
                    continue
                if kind == "line":
                    text = as_written(text, row["o"])
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
    with replacing(cache) as partial:
        np.savez(
            partial,
            rows=np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8),
            points=np.concatenate(points),
            strokes=np.concatenate(lengths).astype(np.int32),
            items=np.asarray([len(item) for item in lengths], dtype=np.int32),
        )


@dataclass(frozen=True)
class Arrays:
    """UNIPEN's usable items as flat arrays.

    rows: a list [writer, kind, text, baseline, x_height, width] for each item.
    points: (n, 2) int16 of all strokes; strokes: points of each; items: strokes of each item.
    """

    rows: list[list]
    points: np.ndarray
    strokes: np.ndarray
    items: np.ndarray


def read_arrays(folder: Path) -> Arrays:
    """The items of a folder of UNIPEN, or of an unpacked pack."""
    cache = folder / PACKED
    if not cache.exists():
        cache = lab_folder() / "cache" / f"unipen-{LABELS_VERSION}.npz"
    if not cache.exists():
        _write_cache(folder, cache)
    with np.load(cache, allow_pickle=False) as arrays:
        if "steps" in arrays:
            steps = arrays["steps"]
            points = np.empty((steps.shape[1], 2), np.int16)
            np.cumsum(steps, axis=1, out=points.T)
            points *= GRID
        else:
            points = arrays["points"]
        rows = json.loads(arrays["rows"].tobytes())
        return Arrays(rows, points, arrays["strokes"], arrays["items"])


def _read(source: Path) -> Iterator[tuple[str, str, Item]]:
    """Every usable item as (writer, kind, item)."""
    arrays = read_arrays(source)
    stroke_ends = np.cumsum(arrays.strokes).tolist()
    stroke = start = 0
    for row, count in zip(arrays.rows, arrays.items.tolist(), strict=True):
        paths = []
        for end in stroke_ends[stroke : stroke + count]:
            paths.append(arrays.points[start:end])
            start = end
        stroke += count
        yield row[0], row[1], Item(row[2], tuple(paths), *row[3:])


def read_writers(source: Path, split: str) -> list[Writer]:
    """UNIPEN's writers of a split (`train` or `validation`) who wrote enough for a page."""
    kept_out = splits()["unipen_validation"]
    names: dict[str, Writer] = {}
    for name, kind, item in _read(source):
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
