"""Evaluation: rates that can be checked by hand, and a command that tells what is wrong."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageDraw

from text_recognizer.evaluate import LabelsError, evaluate, load_items
from text_recognizer.evaluate.kinds import KindItem, kind_rates
from text_recognizer.evaluate.report import write_table, write_worst_pages
from text_recognizer.metrics import character_edits, word_edits
from text_recognizer.overlay import draw_lines

TEXTS = {"a.png": "one two\nthree", "b.png": "four", "c.png": "five six"}


def fake_line(path: list, confidence: float) -> SimpleNamespace:
    return SimpleNamespace(path=path, confidence=confidence)


class FakeRecognizer:
    """Answers with what it was given for each file name, and counts the batches."""

    def __init__(self, readings):
        self.readings, self.batches = readings, []

    def predict_batch(self, images):
        self.batches.append(len(images))
        return [self.readings[Path(image).name] for image in images]

    def read_batch(self, images):
        return [SimpleNamespace(lines=[fake_line([(10, 20), (90, 25)], 0.3)]) for _ in images]


@pytest.fixture
def labels(tmp_path):
    """A folder of three images: two paragraphs in two groups, and a line in a sub-folder."""
    (tmp_path / "labels").mkdir()
    for name in TEXTS:
        folder = tmp_path / "labels" if name == "c.png" else tmp_path
        Image.new("L", (200, 100), 255).save(folder / name)
    items = [
        {"file": "a.png", "text": TEXTS["a.png"], "kind": "paragraph", "group": "ink"},
        {"file": "b.png", "text": TEXTS["b.png"], "kind": "paragraph", "split": "show"},
        {"file": "c.png", "text": TEXTS["c.png"], "kind": "line", "writer": "w"},
    ]
    (tmp_path / "labels.json").write_text(json.dumps({"licence": "CC0", "items": items}))
    return tmp_path


@pytest.mark.parametrize(
    ("reading", "label", "errors", "length"),
    [
        ("a b", "a\nb", 1, 3),  # a newline is one character, and no space
        ("a  b", "a b", 1, 3),  # runs of spaces count
        ("a \nb  \n\n", "a\nb", 0, 3),  # what cannot be seen does not
        ("A", "a", 1, 1),
        ("xy", "", 2, 0),
    ],
)
def test_character_edits(reading, label, errors, length):
    edits = character_edits(reading, label)
    assert (edits.errors, edits.length) == (errors, length)
    assert edits.rate == errors / max(length, 1)
    edits = word_edits("one too\nthree", "one\ntwo three")  # parted at newlines, too
    assert (edits.errors, edits.length) == (1, 3)


def test_rates_are_edits_over_all_characters_by_group(labels):
    readings = {"a.png": "one two\nthree", "b.png": "fo", "c.png": "five sex"}
    evaluation = evaluate(FakeRecognizer(readings), load_items(labels), progress=False)
    assert evaluation.overall.cer == pytest.approx(3 / (13 + 4 + 8))  # no mean of rates
    assert evaluation.overall.wer == pytest.approx(2 / 6)
    groups = evaluation.groups
    assert {rates.images for rates in groups.values()} == {1}
    assert groups["paragraph"].cer == pytest.approx(0.5)
    assert groups["ink"].wer == 0
    assert [result.item.file for result in evaluation.worst(2)] == ["b.png", "c.png"]


@pytest.mark.parametrize("content", ["", "[]", '{"items": [{"file": "a.png", "text": 3}]}'])
def test_what_is_no_labels_file_is_reported(labels, content):
    (labels / "labels.json").write_text(content)
    with pytest.raises(LabelsError, match="is no labels file"):
        load_items(labels)


def test_table_and_pictures(labels, tmp_path):
    recognizer = FakeRecognizer({**TEXTS, "b.png": ""})
    evaluation = evaluate(recognizer, load_items(labels), progress=False)
    write_table(evaluation, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert (rows[1]["cer"], rows[1]["lines"], rows[1]["lines_read"]) == ("1.0000", "1", "0")
    assert rows[0]["text"] == TEXTS["a.png"]

    (tmp_path / "worst-09-of-an-earlier-run.png").touch()
    paths = write_worst_pages(recognizer, evaluation.worst(2), tmp_path)
    assert [path.name for path in paths] == ["worst-01-b.png", "worst-02-a.png"]
    assert sorted(tmp_path.glob("worst-*")) == sorted(paths)
    with Image.open(paths[0]) as picture:
        assert picture.width > 200  # the texts stand beside the page


def test_overlay_draws_each_line_where_it_is_and_leaves_the_page_alone():
    page = Image.new("L", (400, 200), 255)
    ImageDraw.Draw(page).text((100, 90), "ink", fill=0)
    before = page.tobytes()
    sure, doubtful = fake_line([(50, 60), (390, 60)], 0.9), fake_line([(50, 150), (390, 150)], 0.2)
    drawn = draw_lines(page, [sure, doubtful])
    assert (drawn.mode, drawn.size) == ("RGB", page.size)
    assert page.tobytes() == before

    def share(y):  # of the line's columns that are coloured, right of its number
        pixels = [drawn.getpixel((x, y)) for x in range(60, 380)]
        return sum(pixel != (255, 255, 255) for pixel in pixels) / len(pixels)

    assert share(60) == 1
    assert 0.4 < share(150) < 0.8
    assert share(110) == 0
    assert draw_lines(page, []).convert("L").tobytes() == before
    halved = draw_lines(page, [fake_line([(100, 120), (780, 120)], 0.9)], scale=0.5)
    assert halved.getpixel((200, 60)) != (255, 255, 255)


def test_command_ends_in_one_json_line(lab, labels, stand_in_path):
    folder = labels / "out"
    code, out, _ = lab("evaluate", labels, "--model", stand_in_path, "--out", folder)
    assert code == 0 and "CER" in out.splitlines()[0]
    last = json.loads(out.splitlines()[-1])
    assert set(last) == {"cer", "wer", "images", "seconds_per_page", "groups"}
    assert last["images"] == 3 and set(last["groups"]) == {"ink", "line", "paragraph"}
    assert (folder / "table.csv").is_file() and len(list(folder.glob("worst-*.png"))) == 3


def test_what_was_measured_is_printed_although_the_folder_cannot_be_written(
    lab, labels, stand_in_path
):
    folder = labels / "out"
    (folder / "table.csv").mkdir(parents=True)
    code, out, err = lab("evaluate", labels, "--model", stand_in_path, "--out", folder)
    assert code == 2 and json.loads(out.splitlines()[-1])["images"] == 3
    assert f"lab: {folder} cannot be written (Is a directory); choose another" in err


def test_bad_input_is_one_line_and_exit_code_2(refused, labels, stand_in_path):
    missing, empty = labels / "missing", labels / "empty.json"
    empty.write_text('{"items": []}')
    (labels / "labels" / "c.png").unlink()
    for arguments, message in [
        ([missing], "is not there"),
        ([empty], "has no items"),
        ([labels, "--split", "none"], "has no items of split 'none'"),
        ([labels], "names c.png, which is not there"),
        (
            [labels, "--limit", 1, "--model", stand_in_path, "--out", empty],
            "empty.json cannot be written (File exists)",
        ),
    ]:
        assert message in refused("evaluate", *arguments)


def test_kinds_have_rates_of_their_own():
    class Reads:
        def predict_batch(self, images):
            return ["ab\nc" if image.width > 50 else "x" for image in images]

    wide, small = Image.new("L", (60, 40), 200), Image.new("RGB", (30, 20))
    items = [
        KindItem("line", wide, "ab c"),
        KindItem("line", small, "x"),
        KindItem("plain", wide, "ab\nd"),
    ]
    line, plain = kind_rates(Reads(), items)
    assert (line.kind, line.cer, line.split, line.pictures) == ("line", 1 / 5, 0.5, 2)
    assert (plain.kind, plain.cer, plain.split, plain.pictures) == ("plain", 1 / 4, None, 1)


def test_kinds_and_labels_do_not_go_together(refused, tmp_path):
    for arguments in ([], [tmp_path, "--kinds", 1]):
        assert "Give LABELS, or --kinds" in refused("evaluate", *arguments)
    assert "goes with --kinds" in refused("evaluate", tmp_path, "--sheet", tmp_path / "sheet.png")
