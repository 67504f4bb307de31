"""`lab wandb-server`: what it says, and how it ends."""

import os
import re
import signal
import subprocess
import sys

import pytest
from tracking_client import Client

from lab_tracker.errors import TrackingError
from lab_tracker.server import TrackingServer
from lab_utils.commands.tracking import wandb_server
from text_recognizer.places import project_folder


def test_it_tells_how_to_reach_it_and_ends_on_ctrl_c(tmp_path):
    code = "from pathlib import Path\nfrom lab_utils.commands.tracking import wandb_server\n"
    code += f"wandb_server(Path({str(tmp_path)!r}), '127.0.0.1', 0)"
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(project_folder())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [running.stdout.readline() for _ in range(5)]
    told = "".join(lines)
    url = re.search(r"WANDB_BASE_URL=(\S+)", told)[1]
    key = re.search(r"WANDB_API_KEY=(\S+)", told)[1]
    assert Client(url, key).graphql("query V { viewer { entity } }")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode in (0, 1, -signal.SIGINT)


def test_a_taken_port_is_one_line(tmp_path):
    taken = TrackingServer(tmp_path / "first")
    with pytest.raises(TrackingError, match="another port"):
        wandb_server(tmp_path / "second", "127.0.0.1", taken.port)
