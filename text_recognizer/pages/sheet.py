"""Made pages to look at and to keep: a contact sheet, or a folder of pictures with labels."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from text_recognizer.pages.generator import (
    MAX_LINES,
    PageGenerator,
    ink_source,
    page_generator,
)
from text_recognizer.pages.prose import Prose

COLUMNS = 4  # of a contact sheet
CELL = 440  # px of a copy and the gap beside it


def generator_of(kind: str, split: str = "train", to_show: bool = False) -> PageGenerator:
    """The generator of one kind of page, or of the training mix for `mixed`.

    to_show: font pages of whole sentences that have suffered little, for people to look at.
    """
    if to_show:
        prose = Prose(share_of_notes=0.25, share_of_words=0.0)
        return PageGenerator([ink_source("font", split, prose)], wear=0.35)
    return page_generator(None if kind == "mixed" else {kind: 1.0}, split)


def contact_sheet(pictures: Sequence[Image.Image], captions: Sequence[str] = ()) -> Image.Image:
    """Small copies of pictures in rows of COLUMNS, with captions below them if there are any."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    height = CELL + (20 if captions else 0)
    sheet = Image.new("L", (columns * CELL, rows * height), 120)
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        copy = picture.convert("L")
        copy.thumbnail((CELL - 10, CELL - 10))
        x, y = number % columns * CELL + 5, number // columns * height + 5
        sheet.paste(copy, (x, y))
        if captions:
            draw.text((x, y + CELL - 5), captions[number], 255)
    return sheet


def save_contact_sheet(
    path: Path, kind: str = "mixed", count: int = 12, seed: int = 0, split: str = "train"
) -> Path:
    """Writes `count` small pages in one picture."""
    generator = generator_of(kind, split)
    numbers = tqdm(range(count), desc="pages", unit="page")
    sheet = contact_sheet([Image.fromarray(generator.make([seed, n]).image) for n in numbers])
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def save_pages(
    folder: Path,
    kind: str = "font",
    count: int = 16,
    seed: int = 0,
    split: str = "train",
    label_split: str = "train",
    max_lines: int = MAX_LINES,
    to_show: bool = False,
) -> Path:
    """Adds `count` pages as JPEG files to a folder and their texts to its labels.json."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / "labels.json"
    items = json.loads(labels.read_text())["items"] if labels.exists() else []
    generator = generator_of(kind, split, to_show)
    for index in tqdm(range(count), desc="pages", unit="page"):
        page = generator.make([seed, index], max_lines)
        name = f"{label_split}_{kind}_{index:03d}.jpg"
        Image.fromarray(page.image).save(folder / name, quality=85)
        items = [item for item in items if item["file"] != name]
        items.append(
            {
                "file": name,
                "text": page.text,
                "kind": "paragraph",
                "group": page.kind,
                "writer": page.writer,
                "split": label_split,
            }
        )
    about = "Made by `lab pages` from handwriting fonts (OFL-1.1, Apache-2.0) and old prose"
    if kind != "font":
        about = "Made by `lab pages`; the ink is UNIPEN's and Copiste's (CC BY 4.0): do not commit"
    labels.write_text(
        json.dumps({"licence": about, "items": sorted(items, key=lambda i: i["file"])}, indent=1)
        + "\n"
    )
    return labels
