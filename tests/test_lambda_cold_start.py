"""The benchmark of the cold start, that a small run of it ends as it says."""

import json
import os
import subprocess
import sys

import pytest

from text_recognizer.places import project_folder


@pytest.mark.nightly
def test_cold_start_ends_in_one_json_line():
    done = subprocess.run(
        [sys.executable, "benchmarks/cold_start.py", "--rounds", "1", "--pages", "1"],
        capture_output=True,
        text=True,
        cwd=project_folder(),
        env={**os.environ, "PYTHONPATH": str(project_folder())},
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last["seconds"]) == {"torchscript", "checkpoint", "emulator"}
    assert min(last["seconds"].values()) > 0
    assert last["phases"]["torchscript"]["imports"] > last["phases"]["torchscript"]["interpreter"]
    assert set(last["warm_ms"]) == {"predict", "service", "overhead"}
    assert set(last["targets"]) == {"cold_seconds", "emulator_seconds", "ratio", "overhead_ms"}
