"""The data pack: the same writing in one file, and nothing but a whole and current one is read."""

import json

import numpy as np
import pytest
from PIL import Image

from text_recognizer.pages import fonts, packing
from text_recognizer.pages.generator import ink_source
from text_recognizer.pages.handwriting import LABELS_VERSION, pack_folder, splits
from text_recognizer.pages.pack import PackError, check_pack
from text_recognizer.pages.unipen import GRID, read_arrays


def made_item(rng, word: str) -> np.ndarray:
    """A wave as wide as a word of UNIPEN, whose height is about 100 units."""
    x = np.arange(0, 60 * len(word), 4)
    y = 50 + 45 * np.sin(x / 25) + rng.normal(0, 2, len(x))
    return np.stack([x, y], axis=1).round().astype(np.int16)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A small folder of handwriting: two writers to train on, two to validate, six scans."""
    home, rng = tmp_path / "home", np.random.default_rng(1)
    (home / "handwriting").mkdir(parents=True)
    (home / "cache").mkdir()
    rows, points = [], []
    for writer in ["aga/one", "aga/two", *splits()["unipen_validation"][:2]]:
        for number in range(45):
            rows.append([writer, "word", f"reading{number % 7}", 72.0, 45.0, 420.0])
            points.append(made_item(rng, "reading"))
    np.savez(
        home / "cache" / f"unipen-{LABELS_VERSION}.npz",
        rows=np.frombuffer(json.dumps(rows).encode(), np.uint8),
        points=np.concatenate(points),
        strokes=np.array([len(p) for p in points], np.int32),
        items=np.ones(len(rows), np.int32),
    )
    scans = []
    for number, page in enumerate(["page-a", "page-b", *splits()["copiste_validation"][:4]]):
        image = np.full((64, 500), 230, np.uint8)
        image[25:35, 20:480] = rng.integers(20, 80, (10, 460))
        Image.fromarray(image).save(home / "handwriting" / f"{number}.png")
        scans.append({"file": f"{number}.png", "page": page, "text_ascii": "une ligne"})
    (home / "handwriting" / "copiste.json").write_text(json.dumps({"lines": scans}))
    font_folder = home / "made-fonts"
    font_folder.mkdir()
    for name in fonts.TRAINING_FONTS + fonts.UNSEEN_FONTS:
        fonts.font_path(name, font_folder).write_bytes(b"a font")
    monkeypatch.setenv("LAB_HOME", str(home))
    monkeypatch.setenv("LAB_HANDWRITING", str(home / "handwriting"))
    monkeypatch.setenv("LAB_FONTS", str(font_folder))
    return home


@pytest.fixture
def packed(home, monkeypatch, tmp_path):
    """A pack of that folder, on a machine that has nothing else."""
    path = tmp_path / "made.zip"
    assert packing.pack_data(path, 1_000_000)["scans"] == 6
    monkeypatch.setenv("LAB_DATA_PACK", str(path))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("LAB_HANDWRITING", str(tmp_path / "none"))
    monkeypatch.delenv("LAB_FONTS")
    return path


def test_the_pack_holds_what_was_packed(home, packed, monkeypatch):
    after = read_arrays(pack_folder())
    assert fonts.fonts_folder() == pack_folder() / "fonts"
    assert fonts.font_path("kalam").read_bytes() == b"a font"
    monkeypatch.setenv("LAB_HOME", str(home))
    before = read_arrays(home / "handwriting")
    assert after.rows == before.rows and (after.items == before.items).all()
    assert after.points.dtype == np.int16 and int(after.strokes.sum()) == len(after.points)
    last = [np.cumsum(arrays.strokes) - 1 for arrays in (before, after)]
    assert np.abs(before.points[last[0]] - after.points[last[1]]).max() <= GRID


@pytest.mark.parametrize("kind", ["pen", "scan"])
def test_the_splits_of_a_pack_differ(packed, kind):
    names = {}
    for split in ("train", "validation"):
        source = ink_source(kind, split)
        names[split] = set(source.names if kind == "scan" else [w.name for w in source.writers])
        writer, lines = source.write(np.random.default_rng(3), 2, 40.0)
        assert writer in names[split] and all(line.ink.any() for line in lines)
    kept_out = splits()["copiste_validation" if kind == "scan" else "unipen_validation"]
    assert len(names["train"]) == 2 and not names["train"] & set(kept_out)
    assert names["validation"] and names["validation"] <= set(kept_out)


def test_a_cut_an_older_and_a_missing_pack_are_one_line(packed, tmp_path, monkeypatch, refused):
    data = packed.read_bytes()
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    damaged = [data[:-200], data[: len(data) // 2], b"", b"no archive", bytes(broken)]
    for number, content in enumerate(damaged):
        (tmp_path / f"cut{number}.zip").write_bytes(content)
        monkeypatch.setenv("LAB_DATA_PACK", str(tmp_path / f"cut{number}.zip"))
        with pytest.raises(PackError, match="is cut, damaged or not a pack") as error:
            pack_folder()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "elsewhere").exists(), "nothing of a damaged pack is unpacked"
    with pytest.raises(PackError, match="does not fit this version"):
        check_pack(packed, {"labels": -1})
    monkeypatch.setenv("LAB_DATA_PACK", str(tmp_path / "none.zip"))
    with pytest.raises(PackError, match="no pack"):
        pack_folder()
    refused("pages", "--kind", "pen", "--out", tmp_path / "out")


def test_data_that_does_not_fit_is_refused_and_nothing_is_left(home, tmp_path):
    with pytest.raises(PackError, match="--most-mb"):
        packing.pack_data(tmp_path / "small.zip", 2_000)
    assert not (tmp_path / "small.zip").exists()
