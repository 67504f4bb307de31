"""`lab profile`: what it prints and writes, what it refuses, and TensorBoard over its traces."""

import gzip
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
import torch

from lab_utils.profiling import Profile
from lab_utils.profiling.tensorboard import plugin_operators
from lab_utils.profiling.trace import read_trace
from lab_utils.profiling.trace_figures import top_operators
from text_recognizer.places import PROJECT

needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("torch_tb_profiler") is None,
    reason="the plugin is not installed: python -m pip install '.[profile]'",
)


@pytest.fixture(scope="module")
def profiled(stand_in_path, tmp_path_factory):
    """What the command printed for the stand-in, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("command") / "out"
    done = subprocess.run(
        command("--batch-sizes", "2, 1", "--model", stand_in_path, "--out", folder),
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr
    return done, folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lab_utils.cli", "profile", *map(str, arguments)]


def test_it_prints_tables_and_writes_a_whole_profile(profiled):
    done, folder = profiled
    assert done.stderr == "", "no bar where nobody sees it, and nothing of the profiler's own log"
    assert re.search(r"^pages +p50 ms +p95 ms +pages/s .* memory MiB$", done.stdout, re.MULTILINE)
    assert re.search(r"^Top operators, batch of \d$", done.stdout, re.MULTILINE)
    found = Profile.load(folder)
    assert [batch.batch_size for batch in found.batches] == [1, 2]
    assert found.command.startswith("lab profile --batch-sizes '2, 1'")
    # Of the stand-in's few microseconds either size may be the best.
    drawn = {path.name for path in folder.glob("*.png")}
    assert {"latency_and_throughput.png", "utilization.png", "timeline_01.png"} <= drawn
    assert re.search(r": 2 traces, \d+\.\d MB$", done.stdout.strip())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-sizes", "1,,2"],
        ["--batch-sizes", "513"],
        ["--batch-sizes", "9" * 5000],
        ["--device", "tpu"],
        ["--out", "FILE"],
        ["--out", "FOLDER"],
        ["--model", "nowhere.pt"],
        ["--tensorboard", "--out", "FOLDER"],
        pytest.param(
            ["--device", "cuda"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
    ],
)
def test_bad_input_is_one_line(lab, stand_in_path, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    (tmp_path / "FILE").write_text("text")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "mine.txt").touch()
    code, out, err = lab("profile", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lab: ") and err.count("\n") == 1 and len(err) < 500, err
    assert {path.name for path in tmp_path.iterdir()} == {"FILE", "FOLDER"}


def test_a_package_that_lacks_is_named_before_anything_is_measured(lab, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = lab("profile")
    assert code == 2 and "`pip install matplotlib`" in err


def test_ctrl_c_leaves_the_last_profile(profiled, stand_in_path):
    folder = profiled[1]
    before = (folder / "profile.json").read_bytes()
    sizes = ",".join(map(str, range(1, 65)))
    running = subprocess.Popen(
        command("--batch-sizes", sizes, "--model", stand_in_path, "--out", folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    try:
        while len(list(folder.parent.iterdir())) == 1 and running.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, out, err) == (130, b"", b"")
    assert list(folder.parent.iterdir()) == [folder]
    assert (folder / "profile.json").read_bytes() == before


# TensorBoard


@needs_plugin
def test_the_plugin_says_of_operators_what_we_say(profiled):
    for batch in Profile.load(profiled[1]).batches:
        ours = {one.name: one.self_seconds for one in top_operators(read_trace(batch.trace), None)}
        theirs = plugin_operators(batch.trace)
        assert theirs == pytest.approx(ours, abs=1.01e-6, rel=0.01)  # to the plugin, times are µs
        assert list(theirs.values()) == sorted(theirs.values(), reverse=True)


@needs_plugin
def test_it_serves_the_traces_on_this_machine_alone_until_ctrl_c(profiled):
    running = subprocess.Popen(
        command("--tensorboard", "--out", profiled[1], "--port", 0),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    try:
        lines = iter(running.stderr.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://[^ ]+", line)))
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"TensorBoard" in page.read()
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert not psutil.wait_procs(started, timeout=30)[1]


@pytest.mark.parametrize("folder", sorted((PROJECT / "data" / "traces").glob("*/")))
def test_recordings_are_whole_and_name_no_place_of_their_machine(folder):
    found = Profile.load(folder)
    assert found.device["kind"] == folder.name and found.commit
    assert sum(path.stat().st_size for path in folder.rglob("*.gz")) <= 16_000_000
    assert any(batch.trace for batch in found.batches)
    for batch in found.batches:
        if batch.trace:
            assert b'"traceName"' not in gzip.decompress(batch.trace.read_bytes())
