"""What notebook 01 shows: files taken apart, and readings side by side."""

import zipfile

import pytest
from conftest import StandInReader, save_script
from PIL import Image

from lab_utils.lessons.checkpoint_to_torchscript import figures as draw
from text_recognizer.compile_routes import FAILS, WORKS, Outcome


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    save_script(StandInReader(), folder / "first.pt")
    # A second script of the same class may get a number in its name.
    save_script(StandInReader(), folder / "second.pt")
    return folder / "second.pt"


def test_the_parts_of_an_archive_are_all_of_it(archive):
    rows = {row[0]: row for row in draw.archive_parts(archive)}
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if "/code/" in name]
    assert rows["code"][2] + rows["origins"][2] == len(names)
    assert sum(draw.archive_sizes(archive).values()) == archive.stat().st_size


def test_code_is_shown_without_the_numbers_of_names(archive):
    code = draw.code_in_archive(archive, "conftest", "forward", lines=3)
    assert code.startswith("def forward(self: __torch__.conftest.StandInReader,")
    assert len(code.splitlines()) == 3 and "mangle" not in code


def test_readings_are_told_by_what_is_wrong_with_them():
    texts = {"a": "one\ntwo", "b": "", "c": "x" * 90, "d": "one"}
    others = {"a": "one\ntwo", "b": "one", "c": "y " * 90}

    def read(name):
        if name not in others:
            raise RuntimeError("a long story\nRuntimeError: the reason\n")
        return others[name]

    rows = draw.compare_readings(texts, read)
    assert rows[0] == ["a", 2, 2, "the same"]
    assert rows[1] == ["b", 0, 1, "WRONG, begins with: one"]
    assert rows[2][3].endswith("...") and len(rows[2][3]) < 70
    assert rows[3] == ["d", 1, "-", "the reason"]


def test_a_page_stands_beside_its_texts():
    page = Image.new("RGB", (100, 50), "black")
    sheet = draw.page_with_texts(page, {"one": "a\nb", "other": ""}, height=100)
    assert sheet.height == 100 and sheet.width > 200
    assert sheet.crop((1, 1, 199, 99)).getextrema() == (0, 0), "the page, twice as large"
    assert sheet.crop((200, 0, *sheet.size)).getextrema()[0] < 128, "the texts"
    many = draw.page_with_texts(page, {"one": "line\n" * 30}, height=100)
    assert many.height > 600, "no line is cut off"


def test_bars_carry_their_names_and_sizes():
    figure = draw.megabytes({"a": {"x": 2_000_000, "y": 500_000}, "b": {"y": 1_000_000}})
    axes = figure.axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["2.5", "1.0"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y"]
    assert len({bar.get_hatch() for bar in axes.patches}) == 2


def test_outcomes_become_rows():
    done = Outcome("torch.export", "line reader", WORKS, "", 12_900_000, 3.2e-5)
    failed = Outcome("ONNX", "whole recognizer", FAILS, "no such operation")
    assert draw.outcome_rows([done, failed]) == [
        ["torch.export", "line reader", "works", "12.9", "3e-05", "-"],
        ["ONNX", "whole recognizer", "fails", "-", "-", "no such operation"],
    ]
