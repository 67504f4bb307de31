"""What an evaluation leaves in its folder: a table of all images and pictures of the worst.

A rate says how bad a page is; only a look says whether a line was missed, cut or misread.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from text_recognizer.evaluate import Evaluation, Result
from text_recognizer.images import load_image
from text_recognizer.overlay import draw_lines

PAGE_SIDE = 1000  # px: longest side of the page in the picture
FONT_SIZE = 18
MARGIN = 20
TABLE = "table.csv"


def write_report(recognizer: Any, evaluation: Evaluation, folder: Path) -> None:
    """Leaves `table.csv` and pictures of the worst pages in a folder that is there."""
    write_table(evaluation, folder / TABLE)
    write_worst_pages(recognizer, evaluation.worst(), folder)


def rates_table(evaluation: Evaluation) -> str:
    """One line a group, and one for all: CER, WER and the number of images."""
    return "\n".join(
        f"{name:24} CER {rates.cer:.4f}  WER {rates.wer:.4f}  {rates.images} images"
        for name, rates in {**evaluation.groups, "all": evaluation.overall}.items()
    )


def write_table(evaluation: Evaluation, path: Path) -> None:
    """One row an image as CSV: rates, edits, lengths, label and reading."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["file", "group", "kind", "cer", "wer", "character_edits", "characters"]
            + ["word_edits", "words", "lines", "lines_read", "text", "reading"]
        )
        for result in evaluation.results:
            item, characters, words = result.item, result.characters, result.words
            writer.writerow(
                [item.file, item.group, item.kind, f"{characters.rate:.4f}", f"{words.rate:.4f}"]
                + [characters.errors, characters.length, words.errors, words.length]
                + [_count_lines(item.text), _count_lines(result.reading)]
                + [item.text, result.reading]
            )


def write_worst_pages(recognizer: Any, results: Sequence[Result], folder: Path) -> list[Path]:
    """Writes `worst-01-NAME.png` and so on into the folder and returns the paths.

    Pictures of an earlier run are removed first, so that none is taken for one of this run.

    Args:
        recognizer: Has `read_batch`, as ParagraphTextRecognizer.
        results: The worst first.
        folder: Must exist.
    """
    for old in folder.glob("worst-[0-9][0-9]-*.png"):
        old.unlink()
    paths = []
    for rank, result in enumerate(results, start=1):
        image = load_image(result.item.path)
        lines = recognizer.read_batch([result.item.path])[0].lines
        page = draw_lines(image.page, lines, image.page.width / image.width)
        path = folder / f"worst-{rank:02}-{result.item.path.stem}.png"
        side_by_side(page, result).save(path)
        paths.append(path)
    return paths


def side_by_side(page: Image.Image, result: Result) -> Image.Image:
    """The page at the left, at the right the label and the reading with their lines numbered."""
    page = page.copy()
    page.thumbnail((PAGE_SIDE, PAGE_SIDE))
    font = ImageFont.load_default(FONT_SIZE)
    text = "\n\n".join(
        [
            f"{result.item.file}\nCER {result.characters.rate:.3f}  WER {result.words.rate:.3f}",
            "LABEL\n" + _numbered(result.item.text),
            "READING\n" + _numbered(result.reading),
        ]
    )
    left, top, right, bottom = ImageDraw.Draw(page).multiline_textbbox((0, 0), text, font=font)
    width = page.width + round(right - left) + 2 * MARGIN
    height = max(page.height, round(bottom - top) + 2 * MARGIN)
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(page, (0, 0))
    canvas = ImageDraw.Draw(picture)
    canvas.multiline_text((page.width + MARGIN - left, MARGIN - top), text, fill="black", font=font)
    return picture


def _numbered(text: str) -> str:
    if not text:
        return "(nothing)"
    return "\n".join(f"{number:2}  {line}" for number, line in enumerate(text.split("\n"), 1))


def _count_lines(text: str) -> int:
    return len(text.split("\n")) if text else 0
