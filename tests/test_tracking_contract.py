"""The checklist with the real SDK: against the lab's tracker, with the installed `wandb` and with
the lowest one that is supported; and against wandb.ai, if you ask for that.

    LAB_TEST_WANDB_AI=1 WANDB_API_KEY=... pytest tests/test_tracking_contract.py -k wandb_ai
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ran
from tracking_checklist import STEPS
from tracking_client import path_with

from text_recognizer.places import lab_folder

LOWEST = "0.26.1"


def run_checklist(folder: Path, **variables: str) -> dict[str, str | None]:
    """Runs all steps in a process with an empty home: the error of each step, or None."""
    kept = {k: v for k, v in path_with().items() if not re.match("WANDB_|LAB_", k)}
    (folder / "home").mkdir()
    kept |= {"HOME": str(folder / "home"), "LAB_HOME": str(folder / "lab"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("tracking_checklist.py"))]
    done = ran(*command, env=kept | variables, cwd=folder)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"step"')]
    results = {line["step"]: line["error"] for line in lines}
    return {step: results.get(step, f"not reached: {done.stderr[-2000:]}") for step in STEPS}


def lowest() -> dict[str, str]:
    """The lowest SDK, fetched once with what it needs into the lab's cache."""
    target = lab_folder() / "cache" / f"wandb-{LOWEST}"
    if not (target / "wandb").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target"]
        if subprocess.run([*pip, f"{target}.part", f"wandb=={LOWEST}"]).returncode:
            pytest.skip(f"wandb {LOWEST} could not be installed")
        os.replace(f"{target}.part", target)
    return {"PYTHONPATH": path_with(str(target))["PYTHONPATH"]}


def wandb_ai() -> dict[str, str]:
    if not (os.environ.get("LAB_TEST_WANDB_AI") and os.environ.get("WANDB_API_KEY")):
        pytest.skip("asked for with LAB_TEST_WANDB_AI=1 and WANDB_API_KEY")
    names = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY")
    account = {name: os.environ[name] for name in names if name in os.environ}
    return {"WANDB_SILENT": "true", **account}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(dict, id="installed"),
        pytest.param(lowest, id="lowest", marks=pytest.mark.nightly),
        pytest.param(wandb_ai, id="wandb_ai", marks=pytest.mark.nightly),
    ],
)
def results(request, tmp_path_factory) -> dict[str, str | None]:
    return run_checklist(tmp_path_factory.mktemp("checklist"), **request.param())


@pytest.mark.parametrize("step", STEPS)
def test_the_sdk_finds_a_server_of_its_kind(results, step):
    assert results[step] is None, results[step]
