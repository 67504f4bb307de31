"""Whatever a file holds, it becomes a trace or one sentence: `TraceError`, and nothing else."""

import contextlib
import gzip
import json
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_making import TWO_GPUS, document, event, kernel, mark, operator, step, write

from lab_utils.profiling import trace as trace_module
from lab_utils.profiling.gpu_figures import (
    achieved_occupancy,
    device_seconds,
    gpu_utilization,
    sm_efficiency,
)
from lab_utils.profiling.timeline import timeline
from lab_utils.profiling.trace import TraceError, read_trace
from lab_utils.profiling.trace_operators import cpu_seconds, parts, top_operators
from lab_utils.profiling.waiting import waiting_operators
from text_recognizer.errors import RecognizerError

GOOD = json.dumps(document(TWO_GPUS)).encode()


def complaint(path) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert isinstance(caught.value, RecognizerError)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz", "packed.json"])
def test_plain_and_packed_are_the_same_trace(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(GOOD if name == "trace.json" else gzip.compress(GOOD))
    trace = read_trace(path)
    assert trace.path == path
    assert [one.name for one in trace.steps] == ["ProfilerStep#3"]
    assert len(trace.kernels) == 5 and len(trace.work) == 6
    assert read_trace(str(path)) == trace


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(GOOD)[:-40], "cut or damaged"),
        (gzip.compress(GOOD)[:200] + b"\0" * 50 + gzip.compress(GOOD)[250:], "cut or damaged"),
        (GOOD, "not a gzip file"),
        (gzip.compress(GOOD[:-100]), "cut or not JSON"),
        (gzip.compress(b"[" * 100_000), "cut or not JSON"),
        (gzip.compress(b'{"traceEvents": {}}'), "no list of traceEvents"),
        (gzip.compress(b'{"traceEvents": []}'), "no step"),
        (gzip.compress(b'{"traceEvents": [1]}'), "damaged trace: an event is not an object"),
    ],
    ids=[f"damage {number}" for number in range(8)],  # compressed bytes hold the time
)
def test_damaged_files_are_told_in_a_sentence(tmp_path, content, said):
    path = tmp_path / "trace.json.gz"
    path.write_bytes(content)
    assert said in complaint(path)


def test_missing_files_and_folders(tmp_path):
    assert "lab profile" in complaint(tmp_path / "none.json")
    assert "can't be read" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ts": "now"}, '"ts"'),
        ({"ts": 1e300}, '"ts"'),
        ({"ts": float("nan")}, '"ts"'),
        ({"ts": 10**400}, '"ts"'),
        ({"dur": float("inf")}, '"dur"'),
        ({"dur": -1}, "negative duration"),
        ({"dur": 0}, "no duration"),
    ],
)
def test_a_step_without_its_times_is_refused(tmp_path, change, said):
    assert said in complaint(write(tmp_path / "trace.json", [step(1, 0, 10) | change]))


def test_steps_alone_count_as_steps(tmp_path):
    events = [event("user_annotation", "ProfilerStep#x", 0, 9), event("kernel", "k", 0, 9)]
    assert "no step" in complaint(write(tmp_path / "trace.json", events))


def test_what_is_not_known_of_a_kernel_is_left_out(tmp_path):
    """The profiler writes "N/A", or nothing, where the driver tells nothing."""
    unknown = kernel("k", 0, 10, blocks="N/A", occupancy=None)
    nowhere = event("kernel", "k", 10, 20, args="N/A")
    trace = read_trace(write(tmp_path / "trace.json", [step(1, 0, 40), unknown, nowhere]))
    assert gpu_utilization(trace) == pytest.approx(0.25, abs=1e-4)
    assert sm_efficiency(trace) is achieved_occupancy(trace) is None


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_module, "MAX_TRACE_BYTES", 1_000_000)
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b" " * 30_000_000))
    assert path.stat().st_size < 100_000
    assert "more than 1 MB" in complaint(path)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 1_000_001)
    assert "more than 1 MB" in complaint(path)


def test_names_that_are_not_text_can_be_printed(tmp_path):
    path = tmp_path / "trace.json"
    events = [step(1, 0, 100), operator("AA", 0, 50), operator("\ud800 $x_0$", 50, 100)]
    path.write_bytes(json.dumps(document(events)).encode().replace(b"AA", b"\xff\x1b[2J"))
    names = [one.name for one in top_operators(read_trace(path))]
    assert sorted(names) == ["\ufffd $x_0$", "\ufffd\ufffd[2J"]
    timeline(read_trace(path)).savefig(tmp_path / "timeline.png")


def everything(trace, picture: bool) -> None:
    """All that the lab tells of a trace, with its picture, which takes most of the time, or not."""
    for figure in (gpu_utilization, sm_efficiency, achieved_occupancy):
        share = figure(trace)
        assert share is None or share >= 0
    assert device_seconds(trace) >= 0 and cpu_seconds(trace) >= -1e-9
    for share in parts(trace).values():
        assert share >= 0
    top_operators(trace), waiting_operators(trace)
    if picture:
        with contextlib.suppress(TraceError):
            timeline(trace)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
fuzz = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@fuzz
@given(
    number=st.integers(0, len(TWO_GPUS) - 1),
    key=st.sampled_from(["ph", "cat", "name", "ts", "dur", "pid", "tid", "args", None]),
    inner=st.sampled_from(
        ["device", "stream", "correlation", "blocks per SM", "est. achieved occupancy %", "Bytes"]
    ),
    value=json_values | st.sampled_from([0, -1, 1e15, 2**53, "kernel", "cpu_op"]),
    picture=st.sampled_from([True, False, False, False]),
)
def test_a_wrong_value_anywhere(tmp_path, number, key, inner, value, picture):
    events = deepcopy(TWO_GPUS)
    if key is None:
        events[number].setdefault("args", {})[inner] = value
    else:
        events[number][key] = value
    _read_or_complain(tmp_path, json.dumps(document(events)).encode(), picture)


@fuzz
@given(at=st.integers(0, len(GOOD) - 1), bytes_=st.binary(max_size=8), packed=st.booleans())
def test_any_bytes(tmp_path, at, bytes_, packed):
    data = gzip.compress(GOOD, mtime=0) if packed else GOOD
    at %= len(data)
    _read_or_complain(tmp_path, data[:at] + bytes_ + data[at + len(bytes_) :])


def _read_or_complain(tmp_path, content: bytes, picture: bool = False) -> None:
    path = tmp_path / "fuzzed.json"
    path.write_bytes(content)
    try:
        trace = read_trace(path)
    except TraceError as error:
        str(error).encode()
        return
    everything(trace, picture)


def test_steps_before_marks_and_nested_marks(tmp_path):
    """Events come in any order."""
    events = [mark("b", 10, 20), mark("a", 0, 30), step(2, 30, 40), step(1, 0, 30)]
    trace = read_trace(write(tmp_path / "trace.json", events))
    assert [one.name for one in trace.steps] == ["ProfilerStep#1", "ProfilerStep#2"]
    assert [one.name for one in trace.marks] == ["a", "b"]
    assert trace.seconds == pytest.approx(40e-6)
