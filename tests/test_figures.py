"""What the notebooks show: captions and alt texts are there, sizes are bounded, and the same input
is the same output, since stored notebooks are compared."""

import base64
import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lab_utils import figures
from lab_utils.lessons.checkpoint_to_torchscript import figures as taken_apart
from lab_utils.lessons.paragraph_text_recognizer import figures as draw
from text_recognizer.paragraph_text_recognizer import Line
from text_recognizer.vocabulary import TOKENS


@pytest.fixture
def shown(monkeypatch):
    """What the notebook was given to display, one dictionary of formats each."""
    outputs: list[dict[str, str]] = []
    display = pytest.importorskip("IPython.display")
    monkeypatch.setattr(display, "display", lambda data, raw: outputs.append(data))
    return outputs


def picture_in(output: dict[str, str]) -> Image.Image:
    data = re.search(r"data:image/\w+;base64,([^\"]+)", output["text/html"])[1]
    return Image.open(io.BytesIO(base64.b64decode(data)))


def noise(width: int = 90, height: int = 60) -> Image.Image:
    levels = torch.randint(0, 256, (height, width), generator=torch.Generator().manual_seed(1))
    return draw.as_picture(levels)


def plot():
    return draw.column_profile(noise(), torch.rand(40, 10), 3, [4, 20])


# The module that all notebooks share


def test_a_picture_has_its_caption_and_an_alt_text_that_survives_quotes(shown):
    figures.show(noise(), "Figure 1. Less < more.", 'He said "no" & left <it>.')
    markup = shown[0]["text/html"]
    alt = re.search(r'alt="([^"]*)"', markup)[1]
    caption = re.search(r"<figcaption>(.*)</figcaption>", markup)[1]
    assert html.unescape(alt) == 'He said "no" & left <it>.'
    assert html.unescape(caption) == "Figure 1. Less < more."
    assert "He said" in shown[0]["text/plain"] and "base64" not in shown[0]["text/plain"]


def test_a_wide_picture_is_stored_in_the_width_that_is_shown(shown):
    figures.show(noise(900, 300), "Figure 1.", "Noise.", width=300)
    figures.show(noise(90, 60), "Figure 2.", "Noise.", width=300)
    assert picture_in(shown[0]).size == (300, 100)
    assert picture_in(shown[1]).size == (90, 60)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK"])
def test_pictures_of_any_mode_are_shown(shown, mode):
    figures.show(noise().convert(mode), "Figure 1.", "Noise.")
    assert picture_in(shown[0]).size == (90, 60)


@pytest.mark.parametrize("make", [noise, plot])
def test_the_same_picture_is_the_same_bytes(shown, make):
    for _ in range(2):
        torch.manual_seed(0)
        figures.show(make(), "Figure 1.", "Noise.")
    assert shown[0] == shown[1]


def test_a_table_aligns_numbers_and_keeps_cells_whole(shown):
    figures.show_table([("a|b", 1234567), ("c\nd", 5)], ["name", "count"], "Table 1. Two rows.")
    lines = shown[0]["text/markdown"].splitlines()
    assert lines[:4] == [
        "| name | count |",
        "| --- | ---: |",
        "| a\\|b | 1,234,567 |",
        "| c d | 5 |",
    ]
    assert lines[-1] == "*Table 1. Two rows.*"


def test_boxes_show_their_names_lines_and_arrows(shown):
    drawn = figures.boxes({"a <b>": ["one", "two"], "c": []}, [("a <b>", "c")], "From a to c")
    for text in ("a &lt;b&gt;", ">one<", ">two<", ">c<", "From a to c"):
        assert text in drawn
    assert drawn.count("marker-end") == 1
    figures.show(drawn, "Figure 1.", "From a to c.")
    assert "data:image/svg+xml;base64," in shown[0]["text/html"]


# The tables of notebook 01


def test_readings_are_told_by_what_is_wrong_with_them():
    texts = {"a": "one\ntwo", "b": "", "c": "x" * 90, "d": "one"}
    others = {"a": "one\ntwo", "b": "one", "c": "y " * 90}

    def read(name):
        if name not in others:
            raise RuntimeError("a long story\nRuntimeError: the reason\n")
        return others[name]

    rows = taken_apart.compare_readings(texts, read)
    assert rows[0] == ["a", 2, 2, "the same"]
    assert rows[1] == ["b", 0, 1, "WRONG, begins with: one"]
    assert rows[2][3].endswith("...") and len(rows[2][3]) < 70
    assert rows[3] == ["d", 1, "-", "the reason"]


# The pictures of notebook 03


def line(text: str, confidence: float, y: float) -> Line:
    path = [(10.0 + 5 * i, y) for i in range(16)]
    return Line(text, confidence, path, 12.0, (10.0, y - 6, 85.0, y + 6))


def test_waved_paper_moves_up_and_down_by_as_much_as_was_asked():
    page = torch.full((60, 400), 255.0)
    page[29:31] = 0
    waved = torch.from_numpy(np.array(draw.waved(page, height=10, length=400))).float()
    rows = waved.argmin(0).float()  # where the stroke is in each column
    assert waved.shape == (80, 400)
    # Down where the sine is negative: the page is looked up below where it is shown.
    assert float(rows[100]) == pytest.approx(29.5, abs=1)
    assert float(rows[300]) == pytest.approx(49.5, abs=1)
    assert float(rows[0]) == pytest.approx(39.5, abs=1)


def test_plots_show_each_peak_path_class_and_line():
    ridges = torch.rand(40, 10)
    profile = draw.column_profile(noise(), ridges, 3, [4, 20])
    marks = profile.axes[1].get_lines()[1]
    assert marks.get_ydata().tolist() == [4.5, 20.5]
    traced = draw.traced_ridges(ridges, torch.full((2, 10), 5.0), torch.tensor([[0, 4], [2, 9]]))
    assert [text.get_text() for text in traced.axes[0].texts] == ["1", "2"]
    probabilities = torch.eye(96)[[0, 66, 0, 1, 66]]
    heat = draw.ctc_heat_map(torch.ones(1, 1, 48, 40), probabilities, TOKENS)
    below = heat.axes[1]
    assert [label.get_text() for label in below.get_yticklabels()] == ["blank", "space", "a"]
    signs = [label.get_text() for label in below.get_xticklabels()]
    assert signs == [draw.BLANK_SIGN, "a", draw.BLANK_SIGN, draw.SPACE_SIGN, "a"]


def test_right_and_wrong_lines_differ_by_their_mark():
    lines = [line("right", 0.9, 10), line("wrong", 0.95, 20), line("also right", 0.8, 30)]
    figure = draw.confidences(lines, ["right", "write", "also right"])
    right, wrong = figure.axes[0].get_lines()
    assert right.get_xdata().tolist() == [0.9, 0.8] and wrong.get_xdata().tolist() == [0.95]
    assert right.get_marker() != wrong.get_marker()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [x.text for x in lines]
