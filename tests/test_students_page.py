"""The student's own page: which picture is taken, and what is said where there is none."""

import os
import sys
import types

import pytest
from PIL import Image

from lab_utils.students_page import SAMPLE, students_page


@pytest.fixture
def pages(tmp_path):
    """A function that puts a picture into the folder, each newer than the one before."""
    folder, count = tmp_path / "my_pages", iter(range(1, 99))
    folder.mkdir()

    def put(name: str, data: bytes | None = None):
        path = folder / name
        if data is None:
            Image.new("L", (60, 40), 255).save(path)
        else:
            path.write_bytes(data)
        time = 1_700_000_000 + next(count)
        os.utime(path, (time, time))
        return path

    put.folder = folder
    return put


def test_without_a_picture_a_sample_page_is_given_and_one_line_says_what_to_do(tmp_path, capsys):
    folder = tmp_path / "my_pages"
    assert students_page(folder) == students_page(folder) == SAMPLE
    assert SAMPLE.is_file() and folder.is_dir()
    first, second = capsys.readouterr().out.splitlines()
    assert first == second and "put one there" in first and "sample page" in first


def test_the_newest_picture_is_taken_but_not_into_a_build(pages, capsys, monkeypatch):
    pages("b.png")
    newest = pages("a.JPG")
    pages("notes.txt", b"no picture")
    pages(".hidden.png")
    assert students_page(pages.folder) == newest
    assert capsys.readouterr().out == "Your page: a.JPG\n"
    monkeypatch.setenv("LAB_BUILDING", "1")
    assert students_page(pages.folder) == SAMPLE, "what is stored is public"


def test_what_cannot_be_read_is_named_and_the_next_one_is_taken(pages, capsys):
    good = pages("good.png")
    pages("broken.jpg", b"\xff\xd8\xff and no more")
    pages("IMG_1.HEIC", b"\0\0\0\x18ftypheic")
    assert students_page(pages.folder) == good
    heic, broken, taken = capsys.readouterr().out.splitlines()
    assert heic.startswith("IMG_1.HEIC ") and "JPEG" in heic
    assert broken.startswith("broken.jpg is not an image")
    assert taken == "Your page: good.png"


def test_on_colab_an_uploaded_picture_is_taken_and_is_in_the_folder_only(
    pages, tmp_path, capsys, monkeypatch
):
    """Colab also leaves what is uploaded in the current folder."""
    pages("older.png")
    picture = tmp_path / "picture.png"
    Image.new("L", (60, 40), 255).save(picture)

    def upload() -> dict[str, bytes]:
        (tmp_path / "me.png").write_bytes(picture.read_bytes())
        return {"me.png": picture.read_bytes()}

    colab = types.ModuleType("google.colab")
    colab.files = types.SimpleNamespace(upload=upload)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr("lab_utils.students_page.on_colab", lambda: True)
    monkeypatch.chdir(tmp_path)
    assert students_page(pages.folder) == pages.folder / "me.png"
    assert not (tmp_path / "me.png").exists()
    assert capsys.readouterr().out == "Your page: me.png\n"
