"""The load benchmark of the web app: a short run of all its parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "app_load.py"


def test_locust_stays_out_of_the_process_that_measures():
    """Its gevent would change the sockets and threads of whatever imports it."""
    code = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import app_load; "
    code += "print('gevent' in sys.modules or 'locust' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.nightly
def test_a_short_run_measures_all_that_it_promises(stand_in_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--seconds", "2", "--pairs", "3", "--users", "2"],
        env=os.environ | {"LAB_MODEL": stand_in_path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    one, many, queue = (result[part] for part in ("one_user", "many_users", "full_queue"))
    assert one["predict_p50_ms"] > 0 and one["app_p50_ms"] > 0
    assert many["requests"] > 3 and many["errors"] == 0
    assert 0 < many["p50_ms"] <= many["p95_ms"]
    assert 50 < many["memory_first_mb"] < 5000
    assert queue["refused"] > 0 and queue["read"] > 0 and queue["other"] == 0
    assert queue["recovered"] and "busy" in queue["said"]
    assert result["met"]["full_queue"] and result["met"]["errors"]
