"""`python -m lab_tracker` and `lab wandb-server`: what they print, need, and how they end."""

import signal

import pytest
from conftest import python_process
from tracking_client import Client, printed_by

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
    with python_process("-c", _ALONE, tmp_path) as running:
        client = Client(*printed_by(running))
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
