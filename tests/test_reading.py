"""The packaged recognizer reads: what the issue of the recognizer asks of it, held as tests."""

import sys

import numpy as np
import pytest
from conftest import python
from PIL import Image, ImageDraw, ImageFont, ImageOps

from text_recognizer.evaluate import evaluate, load_items
from text_recognizer.evaluate.kinds import kind_rates, make_items
from text_recognizer.metrics import character_edits
from text_recognizer.pages.fonts import UNSEEN_FONTS, FontSource
from text_recognizer.pages.generator import PageGenerator
from text_recognizer.pages.prose import Prose
from text_recognizer.places import project_folder

SAMPLES = project_folder() / "data" / "pages"


@pytest.mark.parametrize("pages", [6, pytest.param(None, marks=pytest.mark.nightly)])
def test_sample_pages_to_show_are_read(packaged, pages):
    items = load_items(SAMPLES, split="show", limit=pages)
    read = evaluate(packaged, items, progress=False)
    assert read.overall.cer <= 0.06


@pytest.mark.parametrize("pages", [5, pytest.param(30, marks=pytest.mark.nightly)])
def test_lines_of_pages_in_unseen_fonts_are_found_once(packaged, fonts, pages):
    found = false = lines = 0
    generator = PageGenerator([FontSource(UNSEEN_FONTS, Prose())], wear=0.35)
    for index in range(pages):
        page = generator.make([41, index])
        read = packaged.read(Image.fromarray(page.image)).lines
        tops = [np.interp(line.start + 5, *line.path.T) for line in page.lines]
        heights = [line.above + line.below for line in page.lines]
        used = set()
        for line in read:
            distances = np.abs(np.array(tops) - line.path[0][1])
            nearest = int(distances.argmin())
            if distances[nearest] < heights[nearest] / 2 and nearest not in used:
                used.add(nearest)
            else:
                false += 1
        found, lines = found + len(used), lines + len(page.lines)
    assert found >= 0.98 * lines
    assert false <= 0.02 * lines


def test_grain_below_the_lines_of_a_page_is_no_line(packaged):
    read = packaged.read(SAMPLES / "train_font_050.jpg")
    assert len(read.lines) == 4 and read.text.endswith("late decide")


def _paper(page: Image.Image, size: tuple[int, int]) -> Image.Image:
    return Image.new("L", size, int(np.quantile(np.asarray(page), 0.8)))


def test_small_writing_in_the_corner_of_a_large_sheet_is_no_rule(packaged):
    page = Image.open(SAMPLES / "show_font_003.jpg").convert("L")
    sheet = _paper(page, (2480, 3508))
    sheet.paste(page.resize((900, 900 * page.height // page.width)), (80, 80))
    assert character_edits(packaged.predict(sheet), packaged.predict(page)).rate < 0.05


def test_small_lines_below_a_large_title_are_not_left_out(packaged):
    page = Image.open(SAMPLES / "show_font_003.jpg").convert("L")
    sheet = _paper(page, (page.width, page.height + 230))
    sheet.paste(page, (0, 230))
    font = ImageFont.load_default(150)
    ImageDraw.Draw(sheet).text((30, 10), "History", fill=45, font=font)
    assert len(packaged.predict(sheet)) > len(packaged.predict(page))


def test_a_band_of_light_across_a_page_is_not_taken_for_the_sheet(packaged):
    page = Image.open(SAMPLES / "show_font_012.jpg").convert("L")
    rows = np.arange(page.height) / page.height
    light = np.where((rows > 0.3) & (rows < 0.7), 1.0, 0.55)[:, None]
    lit = Image.fromarray((np.asarray(page) * light).astype(np.uint8))
    assert character_edits(packaged.predict(lit), packaged.predict(page)).rate < 0.05


def test_a_page_without_lines_raises_no_warning_of_pytorchs(model_path):
    # Warnings from C++ come once a process.
    code = (
        "import sys, warnings\n"
        "from PIL import Image\n"
        "from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer\n"
        "recognizer = ParagraphTextRecognizer(sys.argv[1])\n"
        "warnings.simplefilter('error')\n"
        "assert recognizer.predict(Image.new('L', (400, 300), 240)) == ''\n"
    )
    python(code, model_path, check=True)


def test_a_mirrored_picture_is_read_as_in_a_mirror_and_says_so(packaged):
    page = Image.open(SAMPLES / "show_font_002.jpg").convert("L")
    right, mirrored = packaged.read(page), packaged.read(ImageOps.mirror(page))
    assert mirrored.text == right.text and not right.note
    assert "mirrored" in mirrored.note
    for line, other in zip(right.lines, mirrored.lines, strict=True):
        left, top, end, bottom = line.box
        assert np.allclose(other.box, (page.width - end, top, page.width - left, bottom))
        assert np.allclose(other.path, [(page.width - x, y) for x, y in line.path])


@pytest.mark.nightly
def test_single_words_are_read_and_not_split(packaged, handwriting):
    for rates in kind_rates(packaged, make_items(("word-35", "word-140"), 20)):
        assert rates.cer <= 0.1 and rates.split <= 0.02, rates


@pytest.mark.nightly
def test_pictures_without_writing_are_not_read_without_a_word(packaged, monkeypatch):
    monkeypatch.syspath_prepend(str(project_folder() / "benchmarks"))
    from no_writing import LIMIT, read_all

    counts = read_all(packaged)
    assert counts["pictures"] > 60 and counts["silent"] <= LIMIT * counts["pictures"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux's accounting")
def test_a_reading_process_needs_less_than_a_gigabyte(model_path):
    pages = sorted(str(page) for page in SAMPLES.glob("show_font_00[0-3].jpg"))
    code = (
        "import sys\n"
        "from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer\n"
        "texts = ParagraphTextRecognizer(sys.argv[1]).predict_batch(sys.argv[2:])\n"
        "assert all(texts)\n"
        # Not getrusage: its peak also counts the process that this one was forked from.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    result = python(code, model_path, *pages, check=True)
    assert int(result.stdout) * 1024 < 10**9
