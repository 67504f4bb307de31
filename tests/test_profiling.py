"""Profiles of batch sizes: honest times, what does not fit the memory, and files that are whole."""

import dataclasses
import json
import statistics
import time

import pytest
import torch
import trace_making

from lab_utils.figures import MARKERS
from lab_utils.profiling import (
    TOO_LARGE,
    BatchFigures,
    Profile,
    ProfileError,
    profile_batch_sizes,
)
from lab_utils.profiling.batch_sizes import with_trace
from lab_utils.profiling.folder import replaced_folder
from lab_utils.profiling.plots import latency_and_throughput, utilization
from lab_utils.profiling.tables import as_text, figures_table
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
from text_recognizer.places import SAMPLE_PAGES


class Model:
    """Stands in for the network: notes the size of each batch, and does what a test wants."""

    def __init__(self, act=lambda size, calls: None) -> None:
        self.sizes, self.act = [], act

    def __call__(self, pages, sizes):
        self.sizes.append(len(pages))
        self.act(len(pages), self.sizes.count(len(pages)))
        return torch.relu(torch.zeros(len(pages), 4)).long()


@pytest.fixture
def recognizer(stand_in_path):
    """A recognizer with a stand-in of which the test says what it does: `recognizer(act)`."""

    def make(act=lambda size, calls: None) -> ParagraphTextRecognizer:
        found = ParagraphTextRecognizer(stand_in_path)
        found.model = Model(act)
        return found

    return make


@pytest.fixture
def page():
    return SAMPLE_PAGES / "show_font_009.jpg"


def raising(error, least: int):
    def act(size, calls):
        if size >= least:
            raise error

    return act


# Measuring


def test_times_are_those_of_the_network_and_figures_follow_from_them(recognizer, page):
    slow = recognizer(lambda size, calls: time.sleep(0.01 * size))
    found = profile_batch_sizes(slow, "cpu", [4, 1, 1], repeats=5, pages=[page])
    assert [batch.batch_size for batch in found.batches] == [1, 4]
    for batch in found.batches:
        assert len(batch.seconds) == 5
        assert min(batch.seconds) >= 0.01 * batch.batch_size
        assert batch.p50 == statistics.median(batch.seconds) <= batch.p95 <= max(batch.seconds)
        assert batch.pages_per_second == pytest.approx(batch.batch_size / batch.p50)
        assert batch.pages_per_user_second == pytest.approx(1 / batch.p50)
        assert 0 <= batch.cpu_utilization <= 1
    assert found.pages == "1 page"


def test_sizes_take_turns(recognizer, page):
    counting = recognizer()
    profile_batch_sizes(counting, None, [1, 2], repeats=3, pages=[page])
    timed = counting.model.sizes[6:12]  # after three warm-ups of each
    assert timed == [1, 2, 1, 2, 1, 2]


# What does not fit


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["python", "cpu"],
)
def test_what_does_not_fit_is_marked_and_the_rest_goes_on(recognizer, page, tmp_path, error):
    small = recognizer(raising(error, least=4))
    found = profile_batch_sizes(
        small, "cpu", [1, 4, 2], repeats=3, pages=[page], out=tmp_path / "p"
    )
    assert [batch.p50 is None for batch in found.batches] == [False, False, True]
    assert [batch.trace is not None for batch in found.batches] == [True, True, False]
    assert found.best in found.measured and len(found.measured) == 2
    nothing = recognizer(raising(error, least=1))
    assert profile_batch_sizes(nothing, "cpu", [1, 2], pages=[page]).best is None


def test_other_errors_are_no_lack_of_memory_and_leave_nothing(recognizer, page, tmp_path):
    broken = recognizer(raising(RuntimeError("shapes do not match"), 1))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        profile_batch_sizes(broken, "cpu", [1], pages=[page], out=tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


# Wrong requests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, 'load it with device="cuda"'),
        ({"repeats": 0}, "repeats"),
        ({"pages": []}, "no pages"),
        ({"batch_sizes": []}, "t a batch size"),
        ({"batch_sizes": [True]}, "t a batch size"),
        ({"batch_sizes": [513]}, "t a batch size"),
    ],
)
def test_what_cannot_be_measured_is_refused(recognizer, options, said):
    with pytest.raises(ProfileError, match=said):
        profile_batch_sizes(recognizer(), **options)


# Files


@pytest.fixture(scope="module")
def saved(stand_in_path, tmp_path_factory):
    """A profile of the stand-in, with its traces, and its folder."""
    folder = tmp_path_factory.mktemp("profile") / "saved"
    recognizer = ParagraphTextRecognizer(stand_in_path)
    found = profile_batch_sizes(recognizer, "cpu", [1, 2], repeats=2, out=folder, command="test")
    return found, folder


def test_a_profile_is_the_same_from_its_file(saved):
    found, folder = saved
    assert Profile.load(folder) == Profile.load(folder / "profile.json") == found
    assert found.command == "test" and found.device["kind"] == "cpu"
    assert found.device["threads"] == torch.get_num_threads()
    assert found.versions["torch"] == torch.__version__
    assert found.device["name"] in found.about and found.date[:10] in found.about
    for batch in found.batches:
        assert batch.trace.parent == folder / f"batch_size_{batch.batch_size:02}"
        assert batch.traced_seconds > 0 and batch.memory_bytes > 0
        assert batch.gpu_utilization is batch.device_seconds is None
    document = (folder / "profile.json").read_text()
    assert str(folder) not in document, "a profile travels, places on this machine do not"


def test_without_a_folder_nothing_is_kept(recognizer, page, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = profile_batch_sizes(recognizer(), "cpu", [1], repeats=1, pages=[page])
    assert found.batches[0].trace is None and found.batches[0].operators
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: json.dumps(d)[:-20],
        lambda d: json.dumps(d | {"format": "lab-profile/2"}),
        lambda d: json.dumps(d | {"batches": [d["batches"][0] | {"seconds": [float("nan")]}]}),
        lambda d: json.dumps(d | {"batches": [d["batches"][0] | {"operators": [{}]}]}),
    ],
)
def test_other_files_are_refused_with_one_sentence(saved, tmp_path, change):
    document = json.loads((saved[1] / "profile.json").read_text())
    (tmp_path / "profile.json").write_text(change(document))
    with pytest.raises(ProfileError) as refusal:
        Profile.load(tmp_path)
    assert "lab profile" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_failed_run_leaves_the_last_profile_as_it_was(tmp_path):
    out = tmp_path / "p"
    for text in ("first", "second"):
        with replaced_folder(out) as partial:
            (partial / "profile.json").write_text(text)
    assert (out / "profile.json").read_text() == "second"
    with pytest.raises(KeyboardInterrupt), replaced_folder(out) as partial:
        (partial / "profile.json").write_text("half")
        raise KeyboardInterrupt
    assert (out / "profile.json").read_text() == "second"
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_with_anything_else_is_never_replaced(tmp_path):
    out = tmp_path / "p"
    notes = out / "batch_size_01" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(ProfileError, match=r"batch_size_01/notes\.txt"), replaced_folder(out):
        pass
    with pytest.raises(ProfileError, match="is a file"), replaced_folder(notes):
        pass
    assert notes.read_text() == "mine"


# The real thing


def test_the_recognizer_is_measured_part_by_part(model_path):
    found = profile_batch_sizes(
        ParagraphTextRecognizer(model_path),
        "cpu",
        [1],
        repeats=1,
        pages=[SAMPLE_PAGES / "show_font_002.jpg"],
    )
    shares = found.batches[0].parts
    outer = [name for name in shares if name not in ("backbone", "encoder")]
    assert set(outer) == {"normalization", "finder", "straightening", "reader", "decoding"}
    assert 0.8 < sum(shares[name] for name in outer) <= 1
    assert shares["backbone"] + shares["encoder"] <= shares["reader"]


def test_figures_of_a_gpu_come_from_its_trace(tmp_path):
    path = trace_making.write(tmp_path / "made.pt.trace.json", trace_making.BUSY_GPU)
    timed = BatchFigures(4, seconds=[1e-4], memory_bytes=2**20)
    found = with_trace(timed, path)
    assert (found.seconds, found.memory_bytes, found.trace) == ([1e-4], 2**20, path)
    assert found.traced_seconds == pytest.approx(900e-6)
    assert found.device_seconds == pytest.approx(450e-6)
    assert found.gpu_utilization == pytest.approx(400 / 900)
    assert found.operators and set(found.parts) == {"finder", "reader", "encoder"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_is_measured(model_path):
    recognizer = ParagraphTextRecognizer(model_path, device="cuda")
    [found] = profile_batch_sizes(recognizer, "cuda", [16], repeats=3).batches
    assert 0 < found.gpu_utilization <= 1 and found.memory_bytes > 0


# Plots and tables


def made(kind: str, sizes, **figures) -> Profile:
    batches = [
        BatchFigures(size, seconds=[0.1 * size, 0.11 * size], cpu_utilization=0.9, **figures)
        for size in sizes
    ]
    return Profile({"kind": kind, "name": f"a {kind}"}, {}, "2026-01-01", "c", None, "p", batches)


def test_plots_tell_series_apart_without_colours_and_name_what_does_not_fit():
    gpu = made("cuda", [1, 2], gpu_utilization=0.5, sm_efficiency=0.25, achieved_occupancy=0.1)
    for figure in (latency_and_throughput(gpu), utilization(gpu), utilization(made("cpu", [1]))):
        for axes in figure.axes:
            lines = [line for line in axes.lines if line.get_marker() in MARKERS]
            looks = {
                (line.get_marker(), line.get_linestyle(), line.get_markerfacecolor())
                for line in lines
            }
            assert len(looks) == len(lines) > 0
    shown = utilization(gpu).axes[0].lines
    assert [list(line.get_ydata()) for line in shown] == [[50, 50], [25, 25], [10, 10]]
    large = BatchFigures(64)
    both = dataclasses.replace(gpu, batches=[*gpu.batches, large])
    assert "64 pages" in latency_and_throughput(both).get_supxlabel()
    with pytest.raises(ProfileError):
        utilization(dataclasses.replace(gpu, batches=[large]))


def test_the_table_shows_what_the_device_has():
    cpu = made("cpu", [1, 16])
    cpu = dataclasses.replace(cpu, batches=[*cpu.batches, BatchFigures(64)])
    lines = as_text(figures_table(cpu)).splitlines()
    assert "GPU" not in lines[0] and TOO_LARGE in lines[3]
    assert lines[2].split() == ["16", "1,680", "1,752", "9.52", "0.60", "90", "%"]
    assert "50 %" in as_text(figures_table(made("cuda", [1], gpu_utilization=0.5)))
