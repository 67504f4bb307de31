"""Traces: their figures against numbers worked out by hand and torch-tb-profiler's parser; damaged
files; and the timeline, readable without colour.

A trace made for a test is no recording; GPU traces that the lab has recorded are in data/traces.
"""

import contextlib
import gzip
import json
import random
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_tb_profiler.profiler.data import RunProfileData
from trace_making import (
    BUSY_GPU,
    copy,
    device_step,
    document,
    kernel,
    mark,
    operator,
    step,
    write,
)

from lab_utils.profiling import BatchFigures, read_trace
from lab_utils.profiling import trace as trace_module
from lab_utils.profiling.batch_sizes import with_trace
from lab_utils.profiling.timeline import timeline
from lab_utils.profiling.trace import TraceError
from lab_utils.profiling.trace_figures import (
    achieved_occupancy,
    covered,
    gpu_utilization,
    idle_gaps,
    parts,
    sm_efficiency,
    top_operators,
)
from text_recognizer.places import PROJECT

GOOD = json.dumps(document(BUSY_GPU)).encode()
RECORDED = sorted((PROJECT / "data" / "traces" / "cuda").rglob("batch_size_01/*.json*"))


# Figures


def test_figures_worked_out_by_hand(tmp_path):
    path = write(tmp_path / "busy.json.gz", BUSY_GPU)
    busy_gpu = read_trace(path)
    assert busy_gpu.seconds == pytest.approx(900e-6)
    # Kernels within [0, 900]: 0-50 (0.25 blocks a multiprocessor), 100-200 (0.5), 200-300
    # (0.5 + 0.8, which is no more than 1), 300-400 (0.8), 850-900 (2, no more than 1).
    assert gpu_utilization(busy_gpu) == pytest.approx(400 / 900)
    filled = 50 * 0.25 + 100 * 0.5 + 100 * 1 + 100 * 0.8 + 50 * 1
    assert sm_efficiency(busy_gpu) == pytest.approx(filled / 900)
    weighted = 50 * 0.2 + 200 * 0.4 + 200 * 0.6 + 50 * 0.8
    assert achieved_occupancy(busy_gpu) == pytest.approx(weighted / 500)
    assert covered(busy_gpu.work, busy_gpu) == pytest.approx(450)  # with the copy, 400-450
    assert np.ravel(idle_gaps(busy_gpu)) == pytest.approx([50, 100, 450, 850])
    assert busy_gpu.memory_bytes == 512
    operators = {one.name: one.self_seconds for one in top_operators(busy_gpu, None)}
    assert operators["aten::conv2d"] == pytest.approx(20e-6)  # without the one within it
    assert [one.name for one in top_operators(busy_gpu, 2)] == ["aten::item", "aten::matmul"]
    found = with_trace(BatchFigures(4, seconds=[1e-4], memory_bytes=2**20), path)
    assert (found.seconds, found.memory_bytes, found.trace) == ([1e-4], 2**20, path)
    assert found.traced_seconds == pytest.approx(900e-6)
    assert found.device_seconds == pytest.approx(450e-6)
    assert found.gpu_utilization == gpu_utilization(busy_gpu)
    assert found.operators and set(found.parts) == {"finder", "reader", "encoder"}


def test_marks_that_call_themselves_count_once(tmp_path):
    events = [step(1, 0, 100), mark("reader", 10, 60), mark("reader", 20, 30), mark("x", 70, 130)]
    shares = parts(read_trace(write(tmp_path / "marks.json", events)))
    assert shares == pytest.approx({"reader": 0.5, "x": 0.3})


def assert_equal_to_the_plugin(path, tolerance: float = 1e-4) -> None:
    """The plugin adds up times since the start of the machine, which floats hold to 0.5 ns."""
    parser = RunProfileData.parse("worker", "span", str(path), str(path.parent)).gpu_metrics_parser
    trace = read_trace(path)
    [device] = parser.gpu_ids
    for figure, per_device, scale in (
        (gpu_utilization, parser.gpu_utilization, 1),
        (sm_efficiency, parser.avg_approximated_sm_efficiency_per_device, 1),
        (achieved_occupancy, parser.avg_occupancy_per_device, 100),
    ):
        assert figure(trace) == pytest.approx(per_device[device] / scale, rel=tolerance, abs=1e-6)


def test_random_traces_equal_the_plugin(tmp_path):
    chosen = random.Random(1)
    events = [step(1, 0, 1000), step(2, 1000, 1900)]
    events.append(device_step(2, 1100, chosen.uniform(1500, 2300)))
    for _ in range(80):
        start = chosen.uniform(-200, 2200)
        end = start + chosen.choice([0.5, 5, 50, 400]) * chosen.random()
        blocks = chosen.choice([0.1, 0.4, 0.9, 3.0, 0.0])
        work = kernel("k", start, end, blocks, chosen.randrange(101), 0, chosen.choice([7, 20]))
        if chosen.random() < 0.1:  # some kernels come without these figures
            del work["args"]["blocks per SM"], work["args"]["est. achieved occupancy %"]
        events += [work, copy(start, start + 3)]
    chosen.shuffle(events)
    assert_equal_to_the_plugin(write(tmp_path / "random.json", events))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_traces_equal_the_plugin(path):
    assert_equal_to_the_plugin(path, 0.01)


# What a file may hold


def complaint(path) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(GOOD)[:-40], "cut, damaged"),
        (GOOD, "cut, damaged"),
        (gzip.compress(GOOD[:-100]), "cut, damaged"),
        (gzip.compress(b"[" * 100_000), "cut, damaged"),
        (gzip.compress(b'{"traceEvents": {}}'), "no step"),
        (None, "lab profile"),
    ],
    ids=[f"damage {number}" for number in range(6)],  # compressed bytes hold the time
)
def test_damaged_files_are_reported_in_a_sentence(tmp_path, content, said):
    path = tmp_path / "trace.json.gz"
    if content is not None:
        path.write_bytes(content)
    assert said in complaint(path)


@pytest.mark.parametrize("change", [{"ts": "now"}, {"ts": 1e300}, {"dur": 10**400}, {"dur": -1}])
def test_a_step_without_its_times_is_refused(tmp_path, change):
    complaint(write(tmp_path / "trace.json", [step(1, 0, 10) | change]))


def test_a_trace_of_several_gpus_is_refused(tmp_path):
    events = [step(1, 0, 9), kernel("k", 0, 1), kernel("k", 0, 1, device=1)]
    assert "several GPUs" in complaint(write(tmp_path / "trace.json", events))


def test_what_is_not_known_of_a_kernel_is_left_out(tmp_path):
    """The profiler writes "N/A", or nothing, where the driver says nothing."""
    unknown = kernel("k", 0, 10, blocks="N/A", occupancy=None)
    trace = read_trace(write(tmp_path / "trace.json", [step(1, 0, 40), unknown]))
    assert gpu_utilization(trace) == pytest.approx(0.25, abs=1e-4)
    assert sm_efficiency(trace) is achieved_occupancy(trace) is None


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_module, "MAX_TRACE_BYTES", 1_000_000)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b" " * 30_000_000))
    assert "more than 1 MB" in complaint(path)


def test_names_that_are_not_text_can_be_printed_and_drawn(tmp_path):
    path = tmp_path / "trace.json"
    events = [step(1, 0, 100), operator("AA", 0, 50), operator("\ud800 $x_0$", 50, 100)]
    path.write_bytes(json.dumps(document(events)).encode().replace(b"AA", b"\xff\x1b[2J"))
    names = [one.name for one in top_operators(read_trace(path))]
    assert sorted(names) == ["\ufffd $x_0$", "\ufffd\ufffd[2J"]
    timeline(read_trace(path)).savefig(tmp_path / "timeline.png")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    number=st.integers(0, len(BUSY_GPU) - 1),
    key=st.sampled_from(["ph", "cat", "name", "ts", "dur", "pid", "tid", "args", None]),
    inner=st.sampled_from(["device", "blocks per SM", "est. achieved occupancy %"]),
    value=json_values | st.sampled_from([0, -1, 1e15, 2**53, "kernel", "cpu_op"]),
)
def test_a_wrong_value_anywhere(tmp_path, number, key, inner, value):
    events = deepcopy(BUSY_GPU)
    if key is None:
        events[number].setdefault("args", {})[inner] = value
    else:
        events[number][key] = value
    path = tmp_path / "fuzzed.json"
    path.write_bytes(json.dumps(document(events)).encode())
    with contextlib.suppress(TraceError):
        with_trace(BatchFigures(1, seconds=[1.0]), path)


# The timeline


def drawn(path, events):
    figure = timeline(read_trace(write(path / "trace.json", events)))
    figure.canvas.draw()
    return figure


def named(figure) -> list[list[str]]:
    legends = [axes.get_legend() for axes in figure.axes]
    return [[text.get_text() for text in one.get_texts()] for one in legends if one]


def test_rows_for_marks_processor_and_gpu(tmp_path):
    figure = drawn(tmp_path, BUSY_GPU)
    assert [axes.get_ylabel() for axes in figure.axes] == ["parts", "", "processor", "GPU"]
    names, operators, kernels = named(figure)
    assert names == ["finder", "reader", "encoder"]
    assert operators[0] == "item" and {"gemm", "Memcpy DtoH"} <= set(kernels)
    assert figure.axes[-1].get_xlim() == pytest.approx((0, 1.0))  # ms, the processor's end


def test_looks_differ_without_colours(tmp_path):
    events = [step(1, 0, 200)]
    events += [mark(f"part {number}", 20 * number, 20 * number + 20) for number in range(10)]
    events += [operator("_a $x$ name", 0, 100)]  # of neither form does the legend leave it out
    figure = drawn(tmp_path, events)
    patches = figure.axes[0].get_legend().get_patches()
    assert len({patch.get_hatch() for patch in patches}) == len(patches) == 10
    assert "_a $x$ name" in named(figure)[1]


def test_thousands_of_kernels_are_few_shapes_as_high_as_the_time_in_which_they_run(tmp_path):
    chosen = random.Random(0)
    events = [step(1, 0, 40_000)]
    events += [kernel(f"k{chosen.randrange(9)}", 10 * n, 10 * n + 2.5) for n in range(4000)]
    [gpu] = drawn(tmp_path, events).axes
    assert len(gpu.collections) == 6  # five names, and the others
    tops = gpu.collections[-1].get_paths()[0].vertices
    assert tops[:, 1].max() == pytest.approx(0.25, abs=0.02)
    assert np.ptp(tops[:, 0]) == pytest.approx(40)  # ms


def test_a_step_with_nothing_to_draw(tmp_path):
    with pytest.raises(TraceError, match="shows nothing within ProfilerStep#1"):
        drawn(tmp_path, [step(1, 0, 100)])
