"""Figures of a trace: against numbers worked out by hand, against torch-tb-profiler's own parser,
and against what torch.profiler itself says of a model that it really recorded.

A trace made for a test is no recording; GPU traces that the lab has recorded are in data/traces.
"""

import random

import pytest
from torch_tb_profiler.profiler.data import RunProfileData
from trace_making import (
    BUSY_GPU,
    copy,
    device_step,
    kernel,
    mark,
    record_cpu_trace,
    step,
    write,
)

from lab_utils.profiling.gpu_figures import (
    achieved_occupancy,
    covered,
    gpu_utilization,
    idle_gaps,
    sm_efficiency,
)
from lab_utils.profiling.trace import read_trace
from lab_utils.profiling.trace_operators import parts, top_operators
from text_recognizer.places import PROJECT

RECORDED = sorted((PROJECT / "data" / "traces" / "cuda").rglob("batch_size_01/*.json*"))


@pytest.fixture(scope="module")
def busy_gpu(tmp_path_factory):
    return read_trace(write(tmp_path_factory.mktemp("traces") / "busy.json.gz", BUSY_GPU))


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
        theirs = per_device[device]
        ours = None if theirs is None else theirs / scale
        assert figure(trace) == pytest.approx(ours, rel=tolerance, abs=1e-6)


def test_gpu_figures_worked_out_by_hand(busy_gpu):
    assert busy_gpu.seconds == pytest.approx(900e-6)
    # Kernels within [0, 900]: 0-50 (0.25 blocks a multiprocessor), 100-200 (0.5), 200-300
    # (0.5 + 0.8, which is no more than 1), 300-400 (0.8), 850-900 (2, no more than 1).
    assert gpu_utilization(busy_gpu) == pytest.approx(400 / 900)
    filled = 50 * 0.25 + 100 * 0.5 + 100 * 1 + 100 * 0.8 + 50 * 1
    assert sm_efficiency(busy_gpu) == pytest.approx(filled / 900)
    weighted = 50 * 0.2 + 200 * 0.4 + 200 * 0.6 + 50 * 0.8
    assert achieved_occupancy(busy_gpu) == pytest.approx(weighted / 500)
    assert covered(busy_gpu.work, busy_gpu) == pytest.approx(450)  # with the copy, 400-450
    assert busy_gpu.memory_bytes == 512


@pytest.mark.parametrize("seed", range(3))
def test_random_traces_equal_the_plugin(tmp_path, seed):
    chosen = random.Random(seed)
    events = [step(1, 0, 1000), step(2, 1000, 1900)]
    if seed:
        events.append(device_step(1, 50, chosen.uniform(900, 1100)))
        events.append(device_step(2, 1100, chosen.uniform(1500, 2300)))
    for number in range(80):
        start = chosen.uniform(-200, 2200)
        end = start + chosen.choice([0.5, 5, 50, 400]) * chosen.random()
        blocks = chosen.choice([0.1, 0.4, 0.9, 3.0, 0.0])
        stream = chosen.choice([7, 20])
        work = kernel("k", start, end, blocks, chosen.randrange(101), 0, stream, number)
        if chosen.random() < 0.1:
            del work["args"]["blocks per SM"], work["args"]["est. achieved occupancy %"]
        events += [work, copy(start, start + 3)]
    chosen.shuffle(events)
    assert_equal_to_the_plugin(write(tmp_path / "random.json", events))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_traces_equal_the_plugin(path):
    assert_equal_to_the_plugin(path, 0.01)


def test_operators_have_what_runs_within_them_taken_off(busy_gpu):
    operators = {one.name: one for one in top_operators(busy_gpu, None)}
    convolution = operators["aten::conv2d"]
    assert convolution.self_seconds == pytest.approx(20e-6)
    # Both kernels were launched by the operator within it.
    assert convolution.device_seconds == 0
    assert operators["aten::cudnn_convolution"].device_seconds == pytest.approx(400e-6)
    assert [one.name for one in top_operators(busy_gpu, 2)] == ["aten::item", "aten::matmul"]


def test_marks_that_call_themselves_count_once(tmp_path):
    events = [step(1, 0, 100), mark("reader", 10, 60), mark("reader", 20, 30), mark("x", 70, 130)]
    shares = parts(read_trace(write(tmp_path / "marks.json", events)))
    assert shares == pytest.approx({"reader": 0.5, "x": 0.3})


def test_gaps_are_between_the_work(busy_gpu):
    first, second = idle_gaps(busy_gpu)
    assert (*first, *second) == pytest.approx((50, 100, 450, 850))


def test_a_recorded_trace_of_the_cpu_says_what_the_profiler_says(tmp_path):
    path = tmp_path / "tiny.json"
    table = {row.key: row for row in record_cpu_trace(path)}
    trace = read_trace(path)
    assert len(trace.steps) == 2 and not trace.work
    operators = {one.name: one for one in top_operators(trace, None)}
    compared = [name for name in table if name.startswith("aten::")]
    assert "aten::mkldnn_convolution" in compared
    for name in compared:
        assert operators[name].calls == table[name].count
        # The profiler's own table counts marks within an operator as operators; here are none.
        own = table[name].self_cpu_time_total
        assert operators[name].self_seconds * 1e6 == pytest.approx(own, rel=1e-3, abs=0.05)
    shares = parts(trace)
    assert list(shares) == ["finder", "reader", "encoder"]
    assert 0 < shares["encoder"] < shares["reader"] < 1 - shares["finder"]
    # Only the convolution's result: 4 pages, 8 channels of 30 x 30 floats.
    assert trace.memory_bytes >= 4 * 8 * 30 * 30 * 4
