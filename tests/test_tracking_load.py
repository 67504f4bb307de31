"""Many programs at once, and long lists: the benchmark's own measurements, made small."""

from pathlib import Path

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import tracking

    return tracking


@pytest.mark.slow
def test_runs_of_several_processes_lose_nothing(benchmark, tmp_path):
    """Each process has its own tracker over the one folder."""
    result = benchmark.measure_runs(tmp_path, runs=12, steps=300, processes=4)
    assert (result["missing_steps"], result["failed_processes"]) == (0, 0)


@pytest.mark.alone
def test_a_thousand_versions_are_listed_soon(benchmark, tmp_path):
    assert benchmark.measure_listing(tmp_path, versions=1000) < 3  # 0.6 s where nothing else runs


@pytest.mark.alone
def test_a_file_goes_up_and_down(benchmark, tmp_path):
    times = benchmark.measure_files(tmp_path, megabytes=20, repeats=1)
    assert set(times) == {"copy_twice", "up", "down"} and min(times.values()) > 0
