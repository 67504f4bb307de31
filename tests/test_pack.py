"""The data pack: the same writing in one file, and nothing but a whole and current one is read."""

import json

import numpy as np
import pytest
from PIL import Image

from text_recognizer.pages.generator import ink_source
from text_recognizer.pages.handwriting import data_pack, pack_origin, splits
from text_recognizer.pages.pack import (
    GRID,
    PackError,
    packed_strokes,
    read_pack,
    unpacked_strokes,
    write_pack,
)


def made_item(rng, word: str) -> np.ndarray:
    """A wave as wide as a word of UNIPEN, whose height is about 100 units."""
    x = np.arange(0, 60 * len(word), 4)
    y = 50 + 45 * np.sin(x / 25) + rng.normal(0, 2, len(x))
    return np.stack([x, y], axis=1).round().astype(np.int16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The arguments of a small pack: two writers to train on, two to validate, six scans."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(1)
    rows, points, items = [], [], []
    for writer in ["aga/one", "aga/two", *splits()["unipen_validation"][:2]]:
        for number in range(45):
            strokes = made_item(rng, "reading")
            rows.append([writer, "word", f"reading{number % 7}", 72.0, 45.0, 420.0])
            points.append(strokes)
            items.append(1)
    scans = []
    for number, page in enumerate(["page-a", "page-b", *splits()["copiste_validation"][:4]]):
        image = np.full((64, 500), 230, np.uint8)
        image[25:35, 20:480] = rng.integers(20, 80, (10, 460))
        Image.fromarray(image).save(folder / f"{number}.png")
        scans.append({"file": f"{number}.png", "page": page, "text_ascii": "une ligne"})
    font = folder / "some-latin-400-normal.woff2"
    font.write_bytes(b"a font")
    unipen = (rows, np.concatenate(points), np.array([len(p) for p in points]), np.array(items))
    return {"unipen": unipen, "scans": scans, "scan_folder": folder, "fonts": [font]}


@pytest.fixture
def pack_path(made, tmp_path):
    path = tmp_path / "made.npz"
    write_pack(path, 1_000_000, **made, made_of=pack_origin())
    return path


@pytest.fixture
def packed(pack_path, monkeypatch, tmp_path):
    monkeypatch.setenv("LAB_DATA_PACK", str(pack_path))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_HANDWRITING", str(tmp_path / "none"))
    monkeypatch.delenv("LAB_FONTS", raising=False)
    return pack_path


def test_strokes_stay_where_they_were_and_long_moves_are_kept():
    points = np.array([[0, 0], [3, 0], [2000, -900], [5, 5], [-300, 7]], np.int16)
    strokes = np.array([3, 2])
    starts, steps, lengths = packed_strokes(points, strokes)
    back = unpacked_strokes(starts, steps, lengths)
    ends = np.cumsum(lengths)
    assert np.abs(back[ends - 1] - points[[2, 4]]).max() <= GRID
    assert np.abs(back[[0, ends[0]]] - points[[0, 3]]).max() <= GRID
    assert np.abs(np.diff(back[: ends[0]], axis=0)).max() <= 127 * GRID


def test_the_pack_holds_what_was_packed(made, pack_path):
    pack = read_pack(pack_path, pack_origin())
    assert pack.rows == made["unipen"][0] and pack.scans == made["scans"]
    assert pack.fonts == {"some-latin-400-normal.woff2": b"a font"}
    assert pack.image("0.png").size == (500, 64)
    assert pack.points.dtype == np.int16 and int(pack.strokes.sum()) == len(pack.points)


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


def test_a_cut_an_older_and_a_missing_pack_are_one_line(packed, tmp_path, monkeypatch, lab):
    def refusal() -> str:
        with pytest.raises(PackError) as refused:
            data_pack()
        assert "\n" not in str(refused.value) and "lab pack" in str(refused.value)
        return str(refused.value)

    data = packed.read_bytes()
    for number, content in enumerate([data[:-200], data[: len(data) // 2], b"", b"no archive"]):
        cut = tmp_path / f"cut{number}.npz"
        cut.write_bytes(content)
        monkeypatch.setenv("LAB_DATA_PACK", str(cut))
        assert "cut" in refusal()
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    (tmp_path / "broken.npz").write_bytes(broken)
    monkeypatch.setenv("LAB_DATA_PACK", str(tmp_path / "broken.npz"))
    refusal()
    with pytest.raises(PackError, match="does not fit this version"):
        read_pack(packed, {**pack_origin(), "labels": -1})
    monkeypatch.setenv("LAB_DATA_PACK", str(tmp_path / "none.npz"))
    assert "no pack" in refusal()
    code, _, err = lab("pages", "--kind", "pen", "--out", tmp_path / "out")
    assert code == 2 and err.count("\n") == 1


def test_data_that_does_not_fit_is_refused_and_nothing_is_left(made, tmp_path):
    with pytest.raises(PackError, match="--most-mb"):
        write_pack(tmp_path / "small.npz", 2_000, **made, made_of=json.loads("{}"))
    assert not list(tmp_path.iterdir())
