"""Whatever a file holds, it becomes a trace or one sentence: `TraceError`, and nothing else."""

import contextlib
import gzip
import json
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_making import BUSY_GPU, document, kernel, operator, step, write

from lab_utils.profiling import trace as trace_module
from lab_utils.profiling.batch_sizes import with_trace
from lab_utils.profiling.gpu_figures import achieved_occupancy, gpu_utilization, sm_efficiency
from lab_utils.profiling.profile import BatchFigures
from lab_utils.profiling.timeline import timeline
from lab_utils.profiling.trace import TraceError, read_trace
from lab_utils.profiling.trace_operators import top_operators

GOOD = json.dumps(document(BUSY_GPU)).encode()


def complaint(path) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


def test_plain_and_packed_are_the_same_trace(tmp_path):
    for name, content in {"trace.json": GOOD, "trace.json.gz": gzip.compress(GOOD)}.items():
        (tmp_path / name).write_bytes(content)
        trace = read_trace(str(tmp_path / name))
        assert [one.name for one in trace.steps] == ["ProfilerStep#3"]
        assert len(trace.kernels) == 4 and len(trace.work) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(GOOD)[:-40], "can't be read"),
        (gzip.compress(GOOD)[:200] + b"\0" * 50 + gzip.compress(GOOD)[250:], "can't be read"),
        (GOOD, "can't be read"),
        (gzip.compress(GOOD[:-100]), "is cut, damaged"),
        (gzip.compress(b"[" * 100_000), "is cut, damaged"),
        (gzip.compress(b'{"traceEvents": {}}'), "no step"),
        (gzip.compress(b'{"traceEvents": [1]}'), "is cut, damaged"),
        (None, "lab profile"),
    ],
    ids=[f"damage {number}" for number in range(8)],  # compressed bytes hold the time
)
def test_damaged_files_are_told_in_a_sentence(tmp_path, content, said):
    path = tmp_path / "trace.json.gz"
    if content is not None:
        path.write_bytes(content)
    assert said in complaint(path)


@pytest.mark.parametrize(
    "change",
    [{"ts": "now"}, {"ts": 1e300}, {"ts": float("nan")}, {"dur": 10**400}, {"dur": -1}, {"dur": 0}],
)
def test_a_step_without_its_times_is_refused(tmp_path, change):
    complaint(write(tmp_path / "trace.json", [step(1, 0, 10) | change]))


def test_a_trace_of_several_gpus_is_refused(tmp_path):
    events = [step(1, 0, 9), kernel("k", 0, 1), kernel("k", 0, 1, device=1)]
    assert "several GPUs" in complaint(write(tmp_path / "trace.json", events))


def test_what_is_not_known_of_a_kernel_is_left_out(tmp_path):
    """The profiler writes "N/A", or nothing, where the driver tells nothing."""
    unknown = kernel("k", 0, 10, blocks="N/A", occupancy=None)
    trace = read_trace(write(tmp_path / "trace.json", [step(1, 0, 40), unknown]))
    assert gpu_utilization(trace) == pytest.approx(0.25, abs=1e-4)
    assert sm_efficiency(trace) is achieved_occupancy(trace) is None


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_module, "MAX_TRACE_BYTES", 1_000_000)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b" " * 30_000_000))
    assert path.stat().st_size < 100_000
    assert "more than 1 MB" in complaint(path)


def test_names_that_are_not_text_can_be_printed(tmp_path):
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
fuzz = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fuzz
@given(
    number=st.integers(0, len(BUSY_GPU) - 1),
    key=st.sampled_from(["ph", "cat", "name", "ts", "dur", "pid", "tid", "args", None]),
    inner=st.sampled_from(["device", "correlation", "blocks per SM", "est. achieved occupancy %"]),
    value=json_values | st.sampled_from([0, -1, 1e15, 2**53, "kernel", "cpu_op"]),
    picture=st.sampled_from([True, False, False, False]),
)
def test_a_wrong_value_anywhere(tmp_path, number, key, inner, value, picture):
    events = deepcopy(BUSY_GPU)
    if key is None:
        events[number].setdefault("args", {})[inner] = value
    else:
        events[number][key] = value
    path = tmp_path / "fuzzed.json"
    path.write_bytes(json.dumps(document(events)).encode())
    with contextlib.suppress(TraceError):
        with_trace(BatchFigures(1, seconds=[1.0]), path)
        if picture:  # it takes most of the time
            timeline(read_trace(path))
