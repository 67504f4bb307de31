"""Made pages to look at and to keep: a contact sheet, or a folder of pictures with labels."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from text_recognizer.pages.generator import (
    MAX_LINES,
    Page,
    PageGenerator,
    ink_source,
    page_generator,
)
from text_recognizer.pages.prose import Prose


def generator_of(kind: str, split: str = "train", to_show: bool = False) -> PageGenerator:
    """The generator of one kind of page, or of the training mix for `mixed`.

    to_show: font pages of whole sentences that have suffered little, for people to look at.
    """
    if to_show:
        prose = Prose(share_of_notes=0.25, share_of_words=0.0)
        return PageGenerator([ink_source("font", split, prose)], wear=0.35)
    return page_generator(None if kind == "mixed" else {kind: 1.0}, split)


def draw_paths(page: Page) -> Image.Image:
    """The page with its lines' known paths (solid), reach (dotted), starts and ends (bars)."""
    picture = Image.fromarray(page.image).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for line in page.lines:
        draw.line([tuple(point) for point in line.path], fill=(0, 90, 200), width=1)
        for x, y in line.path:
            draw.point([(x, y - line.above), (x, y + line.below)], fill=(200, 30, 0))
        for x in (line.start, line.end):
            y = float(np.interp(x, line.path[:, 0], line.path[:, 1]))
            draw.line([(x, y - line.above), (x, y + line.below)], fill=(200, 30, 0), width=2)
    return picture


def save_contact_sheet(
    path: Path,
    kind: str = "mixed",
    count: int = 12,
    seed: int = 0,
    split: str = "train",
    paths: bool = False,
) -> Path:
    """Writes `count` small pages in one picture, with the known paths drawn in if asked."""
    generator = generator_of(kind, split)
    columns = min(4, count)
    cell = 440
    pictures = []
    for index in tqdm(range(count), desc="pages", unit="page"):
        page = generator.make([seed, index])
        picture = draw_paths(page) if paths else Image.fromarray(page.image).convert("RGB")
        picture.thumbnail((cell - 10, cell - 10))
        pictures.append(picture)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), (120, 120, 120))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, ((index % columns) * cell + 5, (index // columns) * cell + 5))
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
