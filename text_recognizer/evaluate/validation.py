"""The fixed validation pages: real writers, real scans and fonts that training never sees.

A score is only comparable if it is of the same pages, so each page's writer and seed are in
`data/validation_pages.json`, and the pages are made from these wherever they are needed.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from text_recognizer.evaluate.labels import Item, load_items
from text_recognizer.pages.fonts import FontSource
from text_recognizer.pages.generator import Page, ink_source, set_page
from text_recognizer.pages.handwriting import handwriting_folder
from text_recognizer.pages.prose import Prose
from text_recognizer.places import project_folder

GROUPS = ("unipen", "copiste", "font")
REAL_GROUPS = ("unipen", "copiste")  # the groups that need the handwriting data
HEIGHTS = (30.0, 56.0)  # px of writing, from the ascenders to the descenders
LINES = {"unipen": (6, 8), "copiste": (14, 14), "font": (5, 10)}  # of a page, at least and at most
WEAR = (0.0, 0.35)  # an even seed makes a clean page, an odd one a fairly worn one


@dataclasses.dataclass(frozen=True)
class Plan:
    """What makes one page: its group, whose writing it is (writer, scanned page or font), seed."""

    group: str
    name: str
    seed: int

    @property
    def file(self) -> str:
        return f"{self.group}-{self.name.replace('/', '-')}-{self.seed}.png"


def plans_file() -> Path:
    """Where the pages are written down."""
    return project_folder() / "data" / "validation_pages.json"


def plans(groups: Sequence[str] = GROUPS) -> list[Plan]:
    """The pages of some groups, in the order of the file."""
    written = json.loads(plans_file().read_text(encoding="utf-8"))
    return [
        Plan(group, name, seed)
        for group in groups
        for name, seeds in written[group].items()
        for seed in seeds
    ]


def make_pages(groups: Sequence[str] = GROUPS) -> Iterator[tuple[Plan, Page]]:
    """The pages with all that is known of them; the same on every machine.

    Raises HandwritingMissingError where a real group is asked for and its data is not there, and
    FontsMissingError where the fonts have not been fetched.
    """
    for group in groups:
        source = None if group == "font" else ink_source(_KINDS[group], "validation")
        for plan in plans([group]):
            rng = np.random.default_rng([plan.seed, _number(plan.name)])
            count = int(rng.integers(LINES[group][0], LINES[group][1] + 1))
            height = float(rng.uniform(*HEIGHTS))
            if group == "unipen":
                lines = source.copy_out(rng, plan.name, count, height)
            elif group == "copiste":
                lines = source.copy_out(plan.name, 0, count, height)
            else:
                _, lines = FontSource([plan.name], Prose()).write(rng, count, height)
            yield plan, set_page(rng, lines, plan.name, _KINDS[group], WEAR[plan.seed % 2])


_KINDS = {"unipen": "pen", "copiste": "scan", "font": "font"}


def _number(name: str) -> int:
    """A number for a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def write_pages(folder: Path, groups: Sequence[str] = GROUPS, progress: bool = True) -> list[Item]:
    """Writes the pages as PNG files with a `labels.json` and returns them as items to evaluate.

    Raises what `make_pages` does.
    """
    entries = []
    every = plans(groups)
    pages = tqdm(
        make_pages(groups), "pages", len(every), unit="page", disable=not progress, file=sys.stderr
    )
    folder.mkdir(parents=True, exist_ok=True)
    for plan, page in pages:
        Image.fromarray(page.image).save(folder / plan.file, compress_level=1)
        entry = {"file": plan.file, "text": page.text, "group": plan.group, "kind": "paragraph"}
        entries.append({**entry, "writer": plan.name})
    (folder / "labels.json").write_text(json.dumps({"items": entries}, indent=1) + "\n")
    return load_items(folder)


def test_items() -> list[Item]:
    """The 13 paragraphs of letters of 1905 (Stanford), read only at the end: they choose nothing.

    Raises HandwritingMissingError where the handwriting data is not there.
    """
    labels = handwriting_folder() / "stanford.json"
    return [
        dataclasses.replace(item, group="stanford") for item in load_items(labels, kind="paragraph")
    ]


def digest(items: Sequence[Item]) -> str:
    """SHA-256 of file names and texts, to see whether two runs read the same pages."""
    text = "".join(f"{item.file}\0{item.text}\0" for item in items)
    return hashlib.sha256(text.encode()).hexdigest()
