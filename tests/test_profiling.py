"""Profiles of batch sizes: honest times, what does not fit the memory, files that are whole; and
`lab profile`: what it prints and writes, what it refuses, and TensorBoard over its traces."""

import dataclasses
import gzip
import importlib.util
import json
import re
import signal
import time
import urllib.request
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import lab_process

from lab_utils.figures import MARKERS
from lab_utils.profiling import BatchFigures, Profile, profile_batch_sizes, read_trace
from lab_utils.profiling.plots import latency_and_throughput, utilization
from lab_utils.profiling.profile import TOO_LARGE, ProfileError
from lab_utils.profiling.tables import as_text, figures_table
from lab_utils.profiling.tensorboard import plugin_operators
from lab_utils.profiling.trace_figures import top_operators
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import PROJECT, SAMPLE_PAGES

PAGE = [SAMPLE_PAGES / "show_font_009.jpg"]
needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("torch_tb_profiler") is None,
    reason="the plugin is not installed: python -m pip install '.[profile]'",
)


@pytest.fixture
def recognizer(stand_in_path):
    """A recognizer whose network notes the size of each batch in `sizes`, and does what the test
    wants with it: `recognizer(act)`."""

    def make(act=lambda size: None) -> ParagraphTextRecognizer:
        found = ParagraphTextRecognizer(stand_in_path)
        found.sizes = []

        def model(pages, sizes):
            found.sizes.append(len(pages))
            act(len(pages))
            return torch.relu(torch.zeros(len(pages), 4)).long()

        found.model = model
        return found

    return make


def raising(error, least: int):
    def act(size):
        if size >= least:
            raise error

    return act


# Measuring


def test_times_are_those_of_the_network_and_sizes_take_turns(recognizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = recognizer(lambda size: time.sleep(0.01 * size))
    found = profile_batch_sizes(slow, "cpu", [4, 1, 1], repeats=3, pages=PAGE)
    assert [batch.batch_size for batch in found.batches] == [1, 4]
    for batch in found.batches:
        assert len(batch.seconds) == 3 and min(batch.seconds) >= 0.01 * batch.batch_size
        assert sorted(batch.seconds)[1] == batch.p50 <= batch.p95 <= max(batch.seconds)
        assert batch.pages_per_second == pytest.approx(batch.batch_size / batch.p50)
        assert batch.pages_per_user_second == pytest.approx(1 / batch.p50)
        assert 0 <= batch.cpu_utilization <= 1
        assert batch.operators and batch.trace is None
    assert found.pages == "1 page"
    assert slow.sizes[6:12] == [1, 4, 1, 4, 1, 4]  # after three warm-ups of each
    kept = [path for path in tmp_path.iterdir() if "torchinductor" not in path.name]  # PyTorch's
    assert kept == [], "without a folder nothing is kept"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["python", "torch"],
)
def test_what_does_not_fit_is_marked_and_the_rest_goes_on(recognizer, tmp_path, error):
    small = recognizer(raising(error, least=4))
    found = profile_batch_sizes(small, "cpu", [1, 4, 2], repeats=1, pages=PAGE, out=tmp_path / "p")
    assert [batch.p50 is None for batch in found.batches] == [False, False, True]
    assert [batch.trace is not None for batch in found.batches] == [True, True, False]
    assert found.best in found.measured and len(found.measured) == 2
    nothing = recognizer(raising(error, least=1))
    assert profile_batch_sizes(nothing, "cpu", [1, 2], pages=PAGE).best is None


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyboardInterrupt()])
def test_what_breaks_a_run_off_leaves_the_last_profile(recognizer, tmp_path, error):
    broken = recognizer(raising(error, 1))
    out = tmp_path / "p"
    with pytest.raises(type(error)):
        profile_batch_sizes(broken, "cpu", [1], pages=PAGE, out=out)
    assert list(tmp_path.iterdir()) == []
    last = profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=PAGE, out=out)
    with pytest.raises(type(error)):
        profile_batch_sizes(broken, "cpu", [1], pages=PAGE, out=out)
    assert list(tmp_path.iterdir()) == [out] and Profile.load(out) == last


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, 'load it with device="cuda"'),
        ({"repeats": 0}, "repeats"),
        ({"pages": []}, "no pages"),
        ({"batch_sizes": []}, "Batch sizes are"),
    ],
)
def test_what_cannot_be_measured_is_refused(recognizer, options, said):
    with pytest.raises(ProfileError, match=said):
        profile_batch_sizes(recognizer(), **options)


def test_the_recognizer_is_measured_part_by_part(model_path):
    recognizer = ParagraphTextRecognizer(model_path)
    page = SAMPLE_PAGES / "show_font_002.jpg"
    shares = profile_batch_sizes(recognizer, "cpu", [1], repeats=1, pages=[page]).batches[0].parts
    outer = [name for name in shares if name not in ("backbone", "encoder")]
    assert set(outer) == {"normalization", "finder", "straightening", "reader", "decoding"}
    assert 0.8 < sum(shares[name] for name in outer) <= 1
    assert shares["backbone"] + shares["encoder"] <= shares["reader"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_is_measured(model_path):
    recognizer = ParagraphTextRecognizer(model_path, device="cuda")
    [found] = profile_batch_sizes(recognizer, "cuda", [16], repeats=3).batches
    assert 0 < found.gpu_utilization <= 1 and found.memory_bytes > 0


# The command and its folder


@pytest.fixture(scope="module")
def profiled(stand_in_path, tmp_path_factory):
    """What the command printed for the stand-in, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("command") / "out"
    options = ("--batch-sizes", "2, 1", "--model", stand_in_path, "--out", folder)
    with lab_process("profile", *options) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return SimpleNamespace(stdout=out, stderr=err), folder


def test_it_prints_tables_and_writes_a_whole_profile(profiled):
    done, folder = profiled
    assert done.stderr == "", "no bar where nobody sees it, and nothing of the profiler's own log"
    assert re.search(r"^pages +p50 ms +p95 ms +pages/s .* memory MiB$", done.stdout, re.MULTILINE)
    assert re.search(r"^Top operators, batch of \d$", done.stdout, re.MULTILINE)
    assert re.search(r": 2 traces, \d+\.\d MB$", done.stdout.strip())
    # Of the stand-in's few microseconds either size may be the best.
    drawn = {path.name for path in folder.glob("*.png")}
    assert {"latency_and_throughput.png", "utilization.png", "timeline_01.png"} <= drawn
    found = Profile.load(folder)
    assert found == Profile.load(folder / "profile.json")
    assert found.command.startswith("lab profile --batch-sizes '2, 1'")
    assert found.device["kind"] == "cpu" and found.versions["torch"] == torch.__version__
    assert found.device["name"] in found.about and found.date[:10] in found.about
    for batch, size in zip(found.batches, (1, 2), strict=True):
        assert batch.trace.parent == folder / f"batch_size_{size:02}"
        assert batch.batch_size == size and batch.traced_seconds > 0 and batch.memory_bytes > 0
        assert batch.gpu_utilization is batch.device_seconds is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-sizes", "1,,2"],
        ["--batch-sizes", "513"],
        ["--device", "tpu"],
        ["--out", "FILE"],
        ["--out", "FILE/profile"],
        ["--tensorboard", "--out", "FOLDER"],
    ],
)
def test_bad_input_is_one_line(refused, stand_in_path, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_MODEL", stand_in_path)
    (tmp_path / "FILE").write_text("text")
    line = refused("profile", *arguments)
    assert len(line) < 500 and "LAB_HOME" not in line
    assert {path.name for path in tmp_path.iterdir()} == {"FILE"}


def test_a_package_that_is_missing_is_named_before_anything_is_measured(refused, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "`pip install matplotlib`" in refused("profile")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: json.dumps(d)[:-20],
        lambda d: json.dumps(d | {"format": "lab-profile/2"}),
        lambda d: json.dumps(d | {"batches": [d["batches"][0] | {"seconds": [float("nan")]}]}),
    ],
)
def test_other_files_are_refused_with_one_sentence(profiled, tmp_path, change):
    document = json.loads((profiled[1] / "profile.json").read_text())
    (tmp_path / "profile.json").write_text(change(document))
    with pytest.raises(ProfileError) as refusal:
        Profile.load(tmp_path)
    assert "lab profile" in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_old_profile_goes_and_what_else_is_in_its_folder_stays(recognizer, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    profile_batch_sizes(recognizer(), "cpu", [1, 2], repeats=1, pages=PAGE, out=tmp_path)
    profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=PAGE, out=tmp_path)
    assert [path.parent.name for path in tmp_path.glob("*/*.json.gz")] == ["batch_size_01"]
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_profile_that_cannot_take_its_place_leaves_the_last_one(recognizer, tmp_path):
    last = profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=PAGE, out=tmp_path / "p")
    (tmp_path / "p" / "batch_size_02").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError):
        profile_batch_sizes(recognizer(), "cpu", [1, 2], repeats=1, pages=PAGE, out=tmp_path / "p")
    assert sorted(tmp_path.rglob("*")) == before and Profile.load(tmp_path / "p") == last


def test_traces_of_another_folder_are_not_replaced(recognizer, tmp_path):
    profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=PAGE, out=tmp_path / "p")
    traces = tmp_path / "p" / "batch_size_01"
    traces.rename(tmp_path / "theirs")
    traces.symlink_to(tmp_path / "theirs")
    (before,) = (tmp_path / "theirs").iterdir()
    with pytest.raises(ProfileError, match="batch_size_01 is a link"):
        profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=PAGE, out=tmp_path / "p")
    assert list((tmp_path / "theirs").iterdir()) == [before]


@needs_plugin
def test_the_plugin_says_of_operators_what_we_say(profiled):
    for batch in Profile.load(profiled[1]).batches:
        ours = {one.name: one.self_seconds for one in top_operators(read_trace(batch.trace), None)}
        theirs = plugin_operators(batch.trace)
        assert theirs == pytest.approx(ours, abs=1.01e-6, rel=0.01)  # to the plugin, times are µs


@needs_plugin
def test_tensorboard_serves_the_traces_on_this_machine_only_until_ctrl_c(profiled):
    with lab_process("profile", "--tensorboard", "--out", profiled[1], "--port", 0) as running:
        lines = iter(running.stderr.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://[^ ]+", line)))
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"TensorBoard" in page.read()
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert not psutil.wait_procs(started, timeout=30)[1]


@pytest.mark.parametrize("folder", sorted((PROJECT / "data" / "traces").glob("*/")))
def test_recordings_are_whole_and_name_no_place_of_their_machine(folder):
    found = Profile.load(folder)
    assert found.device["kind"] == folder.name and found.commit
    traces = [batch.trace for batch in found.batches if batch.trace]
    assert traces and sum(path.stat().st_size for path in traces) <= 16_000_000
    for trace in traces:
        assert b'"traceName"' not in gzip.decompress(trace.read_bytes())


# Plots and tables


def made(kind: str, sizes, **figures) -> Profile:
    batches = [
        BatchFigures(size, seconds=[0.1 * size, 0.11 * size], cpu_utilization=0.9, **figures)
        for size in sizes
    ]
    return Profile({"kind": kind, "name": f"a {kind}"}, {}, "2026-01-01", "c", None, "p", batches)


def test_plots_distinguish_series_without_colours_and_name_what_does_not_fit():
    gpu = made("cuda", [1, 2], gpu_utilization=0.5, sm_efficiency=0.25, achieved_occupancy=0.1)
    for figure in (latency_and_throughput(gpu), utilization(gpu), utilization(made("cpu", [1]))):
        for axes in figure.axes:
            lines = [line for line in axes.lines if line.get_marker() in MARKERS]
            looks = {(line.get_marker(), line.get_linestyle()) for line in lines}
            assert len(looks) == len(lines) > 0
    shown = utilization(gpu).axes[0].lines
    assert [list(line.get_ydata()) for line in shown] == [[50, 50], [25, 25], [10, 10]]
    large = dataclasses.replace(gpu, batches=[*gpu.batches, BatchFigures(64)])
    assert "64 pages" in latency_and_throughput(large).get_supxlabel()
    with pytest.raises(ProfileError):
        utilization(dataclasses.replace(gpu, batches=[BatchFigures(64)]))


def test_the_table_shows_what_the_device_has():
    cpu = made("cpu", [1, 16])
    cpu = dataclasses.replace(cpu, batches=[*cpu.batches, BatchFigures(64)])
    lines = as_text(figures_table(cpu)).splitlines()
    assert "GPU" not in lines[0] and TOO_LARGE in lines[3]
    assert lines[2].split() == ["16", "1,680", "1,752", "9.52", "0.60", "90", "%"]
    assert "50 %" in as_text(figures_table(made("cuda", [1], gpu_utilization=0.5)))
