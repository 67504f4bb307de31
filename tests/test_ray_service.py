"""Runs the tests of Ray in a network of their own: its replicas listen on all addresses."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ran

from lab_utils.service import ray_environment

HERE = Path(__file__).parent
ALONE = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
IN_NETWORK = [*ALONE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def why_not() -> str:
    """Why these tests can't run here; "" where they can."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed: python -m pip install '.[ray]'"
    if not (shutil.which("unshare") and shutil.which("ip")):
        return "there is no `unshare` or no `ip` to make a network with"
    if subprocess.run([*IN_NETWORK, "true"], capture_output=True).returncode:
        return "this machine lets no process have a network of its own"
    return ""


@pytest.mark.alone  # Ray gives a node 30 s to start
@pytest.mark.parametrize(
    "cases, options",
    [
        ("ray_cases.py", ["-m", "not nightly"]),
        pytest.param("ray_cases.py", ["-m", "nightly", "-s"], marks=pytest.mark.nightly),
        pytest.param("ray_two_nodes.py", [], marks=pytest.mark.nightly),
    ],
)
def test_in_a_network_of_its_own(cases, options):
    if reason := why_not():
        pytest.skip(reason)
    options = ["-q", "-x", "-W", "ignore", *options]
    command = [*IN_NETWORK, sys.executable, "-m", "pytest", *options, HERE / cases]
    done = ran(*command, timeout=None)
    print(done.stdout[-6000:])
    assert done.returncode == 0


def test_without_ray_it_says_what_to_install_and_opens_ports_only_when_asked(
    refused, monkeypatch, stand_in_path
):
    arguments = "service", "ray", "--port", 0, "--model", stand_in_path
    monkeypatch.setattr(ray_environment.importlib.util, "find_spec", lambda _name: None)
    assert "pip install '.[ray]'" in refused(*arguments)
    monkeypatch.setattr(ray_environment.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    assert "--allow-open-ports" in refused(*arguments)
