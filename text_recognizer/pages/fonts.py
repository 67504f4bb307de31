"""Lines in handwriting fonts: they bring every character of the vocabulary, in any text.

The fonts are Fontsource's (OFL-1.1 or Apache-2.0). npm fetches them into a cache when asked, never
at import; none is committed.
"""

import functools
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing
from text_recognizer.npm import fetch_archives
from text_recognizer.pages.handwriting import pack_folder
from text_recognizer.pages.ink import InkLine, crop_to_ink
from text_recognizer.pages.prose import Prose
from text_recognizer.places import lab_folder

TRAINING_FONTS = """
homemade-apple cedarville-cursive la-belle-aurore over-the-rainbow nothing-you-could-do
dawning-of-a-new-day reenie-beanie kristi caveat bad-script marck-script the-girl-next-door
sue-ellen-francisco shadows-into-light just-me-again-down-here kalam indie-flower
gloria-hallelujah architects-daughter covered-by-your-grace gochi-hand schoolbell
annie-use-your-telescope handlee nanum-pen-script neucha swanky-and-moo-moo loved-by-the-king
crafty-girls just-another-hand mansalva
""".split()
UNSEEN_FONTS = """
zeyada waiting-for-the-sunrise patrick-hand give-you-glory coming-soon delius
""".split()  # never trained on: the validation pages and the sample pages to show


class FontsMissingError(RecognizerError):
    """The fonts have not been fetched yet."""


def fonts_folder() -> Path:
    """Where the fonts are: `LAB_FONTS`, those of the data pack, or the lab's folder.

    Raises PackError where `LAB_DATA_PACK` names a pack that can't be read.
    """
    if "LAB_FONTS" not in os.environ and (pack := pack_folder()) is not None:
        return pack / "fonts"
    return Path(os.environ.get("LAB_FONTS") or lab_folder() / "fonts")


def font_path(name: str, folder: Path | None = None) -> Path:
    return (folder or fonts_folder()) / f"{name}-latin-400-normal.woff2"


def fetch_fonts(folder: Path | None = None, names: list[str] | None = None) -> Path:
    """Fetches the fonts that are not there yet with npm and returns their folder.

    A font is whole or absent. Raises NpmError where npm is missing or can't reach its registry.
    """
    folder = folder or fonts_folder()
    names = names or TRAINING_FONTS + UNSEEN_FONTS
    missing = [name for name in names if not font_path(name, folder).exists()]
    if missing:
        archives = fetch_archives([f"@fontsource/{name}@5" for name in missing], folder)
        for name, archive in zip(missing, archives, strict=True):
            _unpack_font(archive, name, folder)
    return folder


def _unpack_font(archive: Path, name: str, folder: Path) -> None:
    place = font_path(name, folder)
    with tarfile.open(archive) as tar:
        for member, target in (
            ("package/LICENSE", folder / f"{name}.LICENSE"),
            (f"package/files/{place.name}", place),
        ):
            with replacing(target) as partial:
                partial.write_bytes(tar.extractfile(member).read())


@functools.lru_cache(maxsize=256)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=256)
def _metrics(path: str) -> tuple[float, float, float]:
    """Core, ascender and descender of a font as shares of its size, read off its letters."""
    font = _load(path, 100)
    top, base = (font.getbbox("x", anchor="ls")[i] for i in (1, 3))
    ascender = min(font.getbbox(c, anchor="ls")[1] for c in "dhkl")
    descender = max(font.getbbox(c, anchor="ls")[3] for c in "gpy")
    core = (top + base) / 2
    return core / 100, (core - ascender) / 100, (descender - core) / 100


class FontSource:
    """Writes lines in handwriting fonts, one font a page."""

    kind = "font"

    def __init__(self, names: list[str], prose: Prose, folder: Path | None = None) -> None:
        self.prose = prose
        self.paths = [font_path(name, folder) for name in names]
        for path in self.paths:
            if not path.exists():
                raise FontsMissingError(
                    f"The font {path.name} is not in {path.parent}; run `lab fonts` to fetch it, "
                    "or set LAB_FONTS to a folder that has it."
                )

    def write(
        self, rng: np.random.Generator, num_lines: int, height: float
    ) -> tuple[str, list[InkLine]]:
        """A writer's name and `num_lines` lines whose writing is about `height` px high."""
        path = self.paths[rng.integers(len(self.paths))]
        core, above, below = _metrics(str(path))
        size = max(int(height / (above + below)), 8)
        font = _load(str(path), size)
        stroke = float(rng.choice([0.0, 0.0, 0.0, 0.02])) * size
        texts = self.prose.lines(rng, num_lines)
        lines = [_render(text, font, stroke, core, above, below) for text in texts]
        return path.name.removesuffix("-latin-400-normal.woff2"), lines

    def write_text(self, text: str, height: float) -> InkLine:
        """One line of that text in the first font, about `height` px high."""
        core, above, below = _metrics(str(self.paths[0]))
        font = _load(str(self.paths[0]), max(int(height / (above + below)), 8))
        return _render(text, font, 0.0, core, above, below)


def _render(
    text: str, font: ImageFont.FreeTypeFont, stroke: float, core: float, above: float, below: float
) -> InkLine:
    left, top, right, bottom = (
        int(edge) for edge in font.getbbox(text, anchor="ls", stroke_width=stroke)
    )
    image = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(image).text(
        (2 - left, 2 - top), text, fill=255, font=font, anchor="ls", stroke_width=stroke
    )
    ink, _, cut = crop_to_ink(np.asarray(image))
    baseline = 2 - top - cut
    size = font.size
    return InkLine(ink, text, baseline + core * size, above * size, below * size)
