"""The benchmarks' own arithmetic, and that a small run of them ends as they say."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ran
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder on the path, as it is for a script that is started there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def page(group: str, characters: int, **read: tuple[int, float]) -> dict:
    read_pages = {
        name: {"edits": edits, "seconds": s, "text": ""} for name, (edits, s) in read.items()
    }
    return {"group": group, "characters": characters, "read": read_pages}


def test_rows_weigh_pages_by_their_length(benchmarks):
    import accuracy

    read_pages = [
        page("stanford", 100, ours=(10, 0.9), greedy=(12, 0.5), against=(20, 0.5)),
        page("stanford", 300, ours=(10, 1.1), greedy=(18, 1.5), against=(40, 1.0)),
        page("unipen", 100, ours=(9, 0.8), greedy=(9, 0.6), against=(9, 0.5)),
    ]
    summary = accuracy.summarize(read_pages, {"ours": 950.0, "greedy": 900.0, "against": 1000.0})
    stanford = summary["rows"]["stanford"]
    assert stanford["ours"] == {"cer": 20 / 400, "seconds_per_page": 1.0}
    assert stanford["against"]["cer"] == 60 / 400
    json.dumps(summary)


def test_lines_are_paired_in_their_order(benchmarks):
    from calibration import score_lines

    def read(*texts: str) -> list:
        return [SimpleNamespace(text=text, confidence=0.5) for text in texts]

    missed = score_lines(read("frst line", "third one"), "first line\nsecond line\nthird one")
    assert [one.label for one in missed] == ["first line", "third one"]
    assert missed[0].right == pytest.approx(0.9)
    besides = score_lines(read("~~~", "first line"), "first line")
    assert [(one.label, one.right) for one in besides] == [(None, 0), ("first line", 1)]


def test_calibration_error_is_the_gap_between_confidence_and_what_is_right(benchmarks):
    from calibration import LineScore, calibration

    pairs = [(0.95, 0.5), (0.95, 0.5), (0.15, 1), (0.15, 1)]
    found = calibration([LineScore(confidence, right, "") for confidence, right in pairs])
    assert found.ece == pytest.approx((0.45 + 0.85) / 2)
    assert [one.lines for one in found.bins] == [0, 2, 0, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.nightly
def test_read_page_ends_in_one_json_line(tmp_path, stand_in_path):
    Image.effect_noise((300, 200), 80).save(tmp_path / "page.png")
    items = [{"file": "page.png", "text": "300x200\ngray 128", "kind": "paragraph"}]
    (tmp_path / "labels.json").write_text(json.dumps({"items": items}))
    script = [sys.executable, BENCHMARKS / "read_page.py"]
    options = ["--labels", tmp_path, "--model", stand_in_path, "--rounds", 1]
    # An interpreter without rapidocr: the rivals are reported and left out.
    rivals = ["--original-pages", 1, "--threads", 1, "--rapidocr-python", "false"]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}
    done = ran(*script, *options, *rivals, env=environment, timeout=None)
    assert done.returncode == 0, done.stderr
    assert "rapidocr ended with 1" in done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last["seconds_per_page"]) == {"batch_1", "batch_8", "greedy", "original"}
    assert last["cer"]["batch_1"] == last["cer"]["batch_8"] < 0.3
    assert last["targets"]["time_to_rapidocr"]["value"] is None
    assert last["targets"]["first_text_seconds"]["value"] > 0
    assert 50 < last["peak_mb"]["single_page_process"] < 5000


@pytest.mark.nightly
def test_a_short_load_of_the_app_measures_all_that_it_promises(stand_in_path):
    script = [sys.executable, BENCHMARKS / "app_load.py"]
    options = ["--seconds", 2, "--pairs", 3, "--users", 2]
    done = ran(*script, *options, env=os.environ | {"LAB_MODEL": stand_in_path})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    one, many, queue = (result[part] for part in ("one_user", "many_users", "full_queue"))
    assert one["predict_p50_ms"] > 0 and one["app_p50_ms"] > 0
    assert many["requests"] > 3 and many["errors"] == 0
    assert 0 < many["p50_ms"] <= many["p95_ms"]
    assert 50 < many["memory_first_mb"] < 5000
    assert queue["refused"] > 0 and queue["read"] > 0 and queue["other"] == 0
    assert queue["recovered"] and "busy" in queue["said"]
    assert result["met"]["full_queue"] and result["met"]["errors"]
