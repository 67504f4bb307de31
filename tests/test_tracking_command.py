"""`python -m lab_tracker` and `lab wandb-server`: what they print, need, and how they end."""

import re
import signal
import subprocess
import sys

import pytest
from tracking_client import Client, path_with

from lab_tracker.__main__ import main
from lab_tracker.errors import TrackingError
from lab_tracker.server import TrackingServer
from lab_utils.commands.tracking import wandb_server

# The package by itself: importing anything else of the lab fails.
_ALONE = """
import sys
for name in ("lab_utils", "lab_authoring", "text_recognizer"):
    sys.modules[name] = None
from lab_tracker.__main__ import main
sys.exit(main(["--folder", sys.argv[1], "--port", "0"]))
"""


def test_it_serves_without_the_lab_and_ends_on_ctrl_c(tmp_path):
    command = [sys.executable, "-c", _ALONE, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, env=path_with(), text=True, **pipes)
    printed = "".join(running.stdout.readline() for _ in range(5))
    client = Client(*re.findall(r"WANDB_(?:BASE_URL|API_KEY)=(\S+)", printed))
    assert client.graphql("query V { viewer { entity } }")
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")


def test_a_taken_port_is_one_line(tmp_path, capsys):
    taken = TrackingServer(tmp_path / "first")
    with pytest.raises(TrackingError, match="another port"):
        wandb_server(tmp_path / "second", taken.port)
    assert main(["--folder", str(tmp_path / "third"), "--port", str(taken.port)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
