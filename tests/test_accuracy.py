"""`benchmarks/accuracy.py`: its arithmetic, and what it does without what it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def accuracy(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import accuracy

    return accuracy


def page(group: str, characters: int, **read: tuple[int, float]) -> dict:
    told = {name: {"edits": edits, "seconds": s, "text": ""} for name, (edits, s) in read.items()}
    return {"group": group, "characters": characters, "read": told}


def test_rows_weigh_pages_by_their_length(accuracy):
    told = [
        page("stanford", 100, ours=(10, 0.9), greedy=(12, 0.5), against=(20, 0.5)),
        page("stanford", 300, ours=(10, 1.1), greedy=(18, 1.5), against=(40, 1.0)),
        page("unipen", 100, ours=(9, 0.8), greedy=(9, 0.6), against=(9, 0.5)),
    ]
    summary = accuracy.summarize(told, {"ours": 950.0, "greedy": 900.0, "against": 1000.0})
    stanford = summary["rows"]["stanford"]
    assert stanford["ours"] == {"cer": 20 / 400, "seconds_per_page": 1.0}
    assert stanford["against"]["cer"] == 60 / 400
    json.dumps(summary)


def test_without_the_handwriting_the_fonts_are_read(accuracy, monkeypatch, tmp_path, capsys, fonts):
    from text_recognizer.evaluate import validation

    monkeypatch.setenv("LAB_HANDWRITING", str(tmp_path / "nowhere"))
    monkeypatch.setattr(accuracy, "lab_folder", lambda: tmp_path)
    few = validation.plans(["font"])[:1]
    monkeypatch.setattr(validation, "plans", lambda groups=(): few)
    items = accuracy.items_to_read(["stanford", "unipen", "font"])
    assert [item.group for item in items] == ["font"]
    assert "fonts only" in capsys.readouterr().err


def test_a_contestant_that_is_not_there_is_told_and_left_out(tmp_path):
    script = BENCHMARKS / "page_readers.py"
    done = subprocess.run(
        [sys.executable, str(script), "tesseract", "--threads=1"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "install Debian's tesseract-ocr" in done.stderr
