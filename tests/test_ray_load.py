"""The load benchmark's own arithmetic, against servers whose answers are known."""

import json
import sys
import time
from pathlib import Path

import pytest

from lab_utils.service.ray_service import RaySettings

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import service_load

    yield service_load
    sys.modules.pop("service_load")


def answering(status: str, batch: int, seconds: float = 0.0):
    """An answer of a service that takes its time."""
    body = json.dumps({"pred": "text"}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nx-batch: {batch}\r\n\r\n".encode()

    def answer(connection, _request):
        time.sleep(seconds)
        connection.sendall(head + body)

    return answer


def test_latency_counts_from_when_a_request_should_have_been_sent(load, serve):
    server = serve(answering("200 OK", 4, 0.1))
    step = load.measure_step(server.url, [b"{}"], rate=40.0, seconds=0.5)
    assert (step.offered, step.shed, step.batch) == (40.0, 0, 4)
    assert 0.1 <= step.p50_s <= step.p95_s <= step.p99_s
    assert 0 < step.answered <= 60


def test_refused_requests_are_shed_and_other_errors_end_the_measurement(load, serve):
    turns = iter(range(1000))
    full, empty = answering("503 Busy", 0), answering("200 OK", 1)

    def answer(connection, request):
        (full if next(turns) % 2 else empty)(connection, request)

    step = load.measure_step(serve(answer).url, [b"{}"], rate=40.0, seconds=0.5)
    assert step.shed == 0.5
    with pytest.raises(RuntimeError, match="500"):
        load.measure_step(serve(answering("500", 0)).url, [b"{}"], rate=40.0, seconds=0.2)


def test_batching_is_judged_beside_one_at_a_time_and_beside_the_same_replicas(load):
    found = load.contestants("model.pt", cores=2, queue_size=8, max_wait_ms=10)
    assert [one.settings for one in found] == [
        RaySettings("model.pt", 1, 1, 0.0, 8, 2),
        RaySettings("model.pt", 1, 8, 10, 8, 2),
        RaySettings("model.pt", 2, 1, 0.0, 8, 1),
        RaySettings("model.pt", 2, 8, 10, 8, 1),
    ]
    steps = {
        one.name: [load.Step(9.0, answered, 0.0, 1.0, 1.0, 1.0, 1.0) for answered in (1.0, best)]
        for one, best in zip(found, (4.0, 5.0, 5.5, 6.0), strict=True)
    }
    verdict = load.judge(found, steps)
    assert verdict["best_batching"] == found[3].name
    assert verdict["ratio"] == 1.5
    assert verdict["ratio_with_the_same_replicas"] == 1.09
