"""Which images to read and what is written in them, from a labels file.

The format is that of `data/pages/labels.json`: {"items": [{"file", "text", "kind", ...}]}.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text_recognizer.errors import RecognizerError

KINDS = ("paragraph", "line")


class LabelsError(RecognizerError):
    """A labels file that is missing, is no labels file, or names images that are not there."""


@dataclass(frozen=True)
class Item:
    """An image file and what is written in it."""

    path: Path
    file: str
    text: str
    kind: str
    group: str


def load_items(
    source: Path,
    kind: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> list[Item]:
    """The items of a labels file, or of `labels.json` in a folder, in the file's order.

    Each image is looked for relative to the labels file, then in the folder that has the labels
    file's name without its suffix. An item's group is its `group`, else its kind.

    Args:
        source: Labels file or folder.
        kind: "paragraph" or "line" keeps only those.
        split: Keeps only the items of this split.
        limit: At most this many, the first ones.

    Raises:
        LabelsError: The file is missing or no labels file, nothing is left, an image is missing.
    """
    source = Path(source)
    labels = source / "labels.json" if source.is_dir() else source
    if not labels.is_file():
        raise LabelsError(f"{labels} is not there: name a labels file or a folder that holds one.")
    try:
        entries = json.loads(labels.read_text(encoding="utf-8"))["items"]
        wanted = [
            entry
            for entry in entries
            if (kind is None or entry.get("kind", "paragraph") == kind)
            and (split is None or entry.get("split") == split)
        ][:limit]
        items = [_item(labels, entry) for entry in wanted]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LabelsError(
            f'{labels} is no labels file: it needs {{"items": [{{"file": ..., "text": ...}}]}}.'
        ) from None
    if not items:
        asked = " and ".join(f"{k} '{v}'" for k, v in (("kind", kind), ("split", split)) if v)
        raise LabelsError(f"{labels} has no items{' of ' + asked if asked else ''} to read.")
    for item in items:
        if not item.path.is_file():
            raise LabelsError(f"{labels} names {item.file}, which is not there: restore it.")
    return items


def _item(labels: Path, entry: dict[str, Any]) -> Item:
    file, text, kind = str(entry["file"]), entry["text"], entry.get("kind", "paragraph")
    if not isinstance(text, str) or kind not in KINDS:
        raise TypeError
    path = labels.parent / file
    if not path.is_file() and (labels.with_suffix("") / file).is_file():
        path = labels.with_suffix("") / file
    return Item(path, file, text, kind, str(entry.get("group") or kind))
