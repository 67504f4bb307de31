"""Many programs at once: the benchmark's own measurement, made small."""

from pathlib import Path

import pytest


@pytest.mark.nightly
def test_runs_of_several_processes_lose_nothing(monkeypatch, tmp_path):
    """Each process has its own tracker over the one folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import tracking

    result = tracking.measure_runs(tmp_path, runs=12, steps=300, processes=4)
    assert (result["missing_steps"], result["failed_processes"]) == (0, 0)
    times = tracking.measure_files(tmp_path, megabytes=5, repeats=1)
    assert set(times) == {"copy_twice", "up", "down"} and min(times.values()) > 0
    assert tracking.measure_listing(tmp_path, versions=200) > 0  # it checks that all are listed
