"""`python -m lab_tracker` and `lab wandb-server`: what they print, need, and how they end."""

import os
import re
import signal
import subprocess
import sys

import pytest
from tracking_client import Client

from lab_tracker.__main__ import main
from lab_tracker.errors import TrackingError
from lab_tracker.server import TrackingServer
from lab_utils.commands.tracking import wandb_server
from text_recognizer.places import project_folder

# The package by itself: importing anything else of the lab fails.
_ALONE = """
import sys
for name in ("lab_utils", "lab_authoring", "text_recognizer"):
    sys.modules[name] = None
from lab_tracker.__main__ import main
sys.exit(main(["--folder", sys.argv[1], "--port", "0"]))
"""


def test_it_serves_without_the_lab_and_ends_on_ctrl_c(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-c", _ALONE, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(project_folder())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed = "".join(running.stdout.readline() for _ in range(5))
    url = re.search(r"WANDB_BASE_URL=(\S+)", printed)[1]
    key = re.search(r"WANDB_API_KEY=(\S+)", printed)[1]
    assert Client(url, key).graphql("query V { viewer { entity } }")
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")


def test_a_taken_port_is_one_line(tmp_path, capsys):
    taken = TrackingServer(tmp_path / "first")
    with pytest.raises(TrackingError, match="another port"):
        wandb_server(tmp_path / "second", taken.port)
    assert main(["--folder", str(tmp_path / "third"), "--port", str(taken.port)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
