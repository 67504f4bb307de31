"""The pictures and the longer tables of notebook 01: what is in a file, and what was read.

Figures are made without pyplot's global state.
"""

import re
import textwrap
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from lab_utils.figures import stacked_bars
from text_recognizer.compile_routes import Outcome

PURPOSES = {
    "epoch": "how far the run has got",
    "global_step": "how far the run has got",
    "pytorch-lightning_version": "to load it with a later version",
    "state_dict": "the weights",
    "loops": "how far the run has got",
    "callbacks": "what the callbacks remember",
    "optimizer_states": "two running means for each weight (Adam)",
    "lr_schedulers": "how far the learning-rate schedule has got",
    "hparams_name": "how to build the module again",
    "hyper_parameters": "how to build the module again",
}
"""What each entry of a Lightning checkpoint is there for."""

ARCHIVE_PARTS = {
    "weights": (lambda name: "/data/" in name, "the tensors' bytes"),
    "code": (lambda name: "/code/" in name and name.endswith(".py"), "what to compute"),
    "origins": (lambda name: name.endswith(".debug_pkl"), "the Python line of each operation"),
    "data.pkl": (
        lambda name: name.endswith("/data.pkl"),
        "the attributes, and which tensor belongs to which",
    ),
}
"""How the files in a TorchScript archive are told apart, and what they are there for."""


def page_with_texts(page: Image.Image, texts: Mapping[str, str], height: int = 300) -> Image.Image:
    """A page, `height` px high, and beside it texts, each below its heading."""
    page = page.convert("L").resize((round(page.width * height / page.height), height))
    font, bold = ImageFont.load_default(15), ImageFont.load_default(17)
    gap, line_height = 24, 21
    columns = [(heading, text.split("\n") or [""]) for heading, text in texts.items()]
    widths = [
        int(max([bold.getlength(heading), *map(font.getlength, lines)])) + gap
        for heading, lines in columns
    ]
    tallest = max([height, *(line_height * (len(lines) + 2) for _, lines in columns)])
    sheet = Image.new("L", (page.width + gap + sum(widths), tallest), 255)
    sheet.paste(page)
    draw, left = ImageDraw.Draw(sheet), page.width + gap
    draw.rectangle((0, 0, page.width - 1, height - 1), outline=128)
    for (heading, lines), width in zip(columns, widths, strict=True):
        draw.text((left, 0), heading, fill=90, font=bold)
        for row, line in enumerate(lines):
            draw.text((left, line_height * (row + 1.5)), line, fill=0, font=font)
        left += width
    return sheet


def megabytes(files: Mapping[str, Mapping[str, int]]) -> Figure:
    """One bar a file, made up of its parts in bytes."""
    sizes = {file: {n: size / 1e6 for n, size in parts.items()} for file, parts in files.items()}
    return stacked_bars(sizes, "MB")


def compare_readings(
    texts: Mapping[str, str], read_otherwise: Callable[[str], str]
) -> list[list[object]]:
    """Compares the texts of pages, by name, with what another way of reading makes of them.

    Rows of the page's name, how many lines either way finds, and whether the texts are the same,
    or the last line of the RuntimeError.
    """
    rows: list[list[object]] = []
    for name, text in texts.items():
        try:
            other = read_otherwise(name)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            rows.append([name, _lines(text), "-", last.removeprefix("RuntimeError: ")])
            continue
        first = textwrap.shorten(other.split("\n")[0], 40, placeholder=" ...")
        verdict = "the same" if other == text else f"WRONG, begins with: {first}"
        rows.append([name, _lines(text), _lines(other), verdict])
    return rows


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def archive_parts(path: Path) -> list[list[object]]:
    """What a TorchScript file holds: part, what for, number of files in it.

    Without their sizes: the origins name the folders of the code, so every machine has its own.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return [
        [part, purpose, sum(map(belongs, names))]
        for part, (belongs, purpose) in ARCHIVE_PARTS.items()
    ]


def archive_sizes(path: Path) -> dict[str, int]:
    """Bytes of the weights in a TorchScript file, and of all else."""
    belongs, _ = ARCHIVE_PARTS["weights"]
    with zipfile.ZipFile(path) as archive:
        weights = sum(i.compress_size for i in archive.infolist() if belongs(i.filename))
    return {"weights": weights, "code": path.stat().st_size - weights}


def code_in_archive(path: Path, module: str, function: str, lines: int) -> str:
    """The first lines of a function's code in a TorchScript file; `module` is its file's name.

    A process that has met another script of the same class before puts a number into the name,
    which says nothing and is left out here.
    """
    mangled = r"___torch_mangle_\d+"
    with zipfile.ZipFile(path) as archive:
        codes = [
            archive.read(name).decode()
            for name in archive.namelist()
            if re.search(rf"/{module}(/{mangled})?\.py$", name)
        ]
    code = next(code for code in codes if f"  def {function}(" in code)
    code = re.sub(rf"\.{mangled}", "", code[code.index(f"  def {function}(") :])
    return "\n".join(textwrap.dedent(code).splitlines()[:lines])


def outcome_rows(outcomes: Sequence[Outcome]) -> list[list[object]]:
    """What the routes did, for a table: route, part, result, MB, largest difference, note."""
    return [
        [
            one.route,
            one.part,
            one.result,
            "-" if one.size is None else f"{one.size / 1e6:.1f}",
            "-" if one.difference is None else f"{one.difference:.0e}" if one.difference else "0",
            one.note or "-",
        ]
        for one in outcomes
    ]
