"""What `tracking.connect()` does to the environment, and that two programs can share a folder."""

import os
import subprocess
import sys

import pytest
from tracking_client import Client

import lab_tracker as tracking
from lab_tracker import connection, runs, streams
from lab_tracker.storage import Store
from text_recognizer.places import project_folder


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No W&B variables, and a lab folder of its own; what a test starts is stopped."""
    for name in [n for n in os.environ if n.startswith(("WANDB_", "LAB_TRACKING_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    before = dict(os.environ)
    yield
    tracking.disconnect()
    os.environ.clear()
    os.environ.update(before)


def test_without_a_key_a_tracker_starts(tmp_path):
    with tracking.connect() as made:
        assert made.is_local and made.folder == tmp_path / "lab" / "wandb"
        assert os.environ["WANDB_BASE_URL"] == made.url
        assert len(os.environ["WANDB_API_KEY"]) == 40
        assert made.project_url("p") == f"{made.url}/lab/p"
        folders = [os.environ[f"WANDB_{name}_DIR"] for name in ("CACHE", "CONFIG", "DATA")]
        for folder in [*folders, os.environ["WANDB_DIR"], os.environ["WANDB_ARTIFACT_DIR"]]:
            assert folder.startswith(str(tmp_path)) and os.path.isdir(folder)
        client = Client(made.url, os.environ["WANDB_API_KEY"])
        assert client.graphql("query V { viewer { entity } }") == {"viewer": {"entity": "lab"}}


def test_closing_takes_everything_back(monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "false")
    monkeypatch.setenv("WANDB_DIR", "/somewhere")
    before = dict(os.environ)
    made = tracking.connect()
    assert os.environ["WANDB_SILENT"] == "false"  # what the user has chosen stays
    made.close()
    assert dict(os.environ) == before
    with pytest.raises(OSError):
        Client(made.url, "").request("GET", "/")


def test_with_a_key_nothing_is_touched_and_nothing_started(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    before = dict(os.environ)
    made = tracking.connect()
    assert not made.is_local and made.url == "https://wandb.ai"
    assert dict(os.environ) == before
    assert connection._servers == {} and not (tmp_path / "lab").exists()
    made.close()
    assert dict(os.environ) == before


def test_a_key_that_comes_later_wins(monkeypatch):
    local = tracking.connect()
    os.environ["WANDB_API_KEY"] = "f" * 40
    made = tracking.connect()
    assert not made.is_local
    assert "WANDB_BASE_URL" not in os.environ and "WANDB_DIR" not in os.environ
    assert os.environ["WANDB_API_KEY"] == "f" * 40
    del os.environ["WANDB_API_KEY"]
    assert tracking.connect().url == local.url


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    made = tracking.connect()
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    made.close()
    assert os.environ["NO_PROXY"] == "intranet.example"


def test_a_folder_that_cannot_be_used_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    before = dict(os.environ)
    with pytest.raises(tracking.TrackingError):
        tracking.connect(tmp_path / "file")
    assert dict(os.environ) == before


def test_a_child_process_shares_the_folder(tmp_path):
    """As `!lab ...` in a notebook: it inherits the variables, and has a server of its own."""
    made = tracking.connect(tmp_path / "mine")
    parent = Client(made.url, os.environ["WANDB_API_KEY"])
    parent.run("of-the-parent")
    code = """
import os
import lab_tracker as tracking
from tracking_client import Client
made = tracking.connect()
client = Client(made.url, os.environ["WANDB_API_KEY"])
client.log("model", {"a": b"from the child"}, run="of-the-parent")
print(made.url)
"""
    path = os.pathsep.join([str(project_folder()), os.path.dirname(__file__)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != made.url
    [version] = parent.versions("model").values()
    assert parent.request("GET", version["files"][0]["directUrl"])[2] == b"from the child"


def test_importing_does_nothing(tmp_path):
    code = """
import os, sys, threading
before = dict(os.environ)
import lab_tracker, lab_utils.commands.tracking
assert dict(os.environ) == before and threading.active_count() == 1
assert not {"fastapi", "uvicorn", "wandb", "graphql", "jinja2"} & set(sys.modules), "a slow import"
assert not [n for n in sys.modules if n == "torch" or n.startswith("lab_tracker.app")]
"""
    environment = os.environ | {"PYTHONPATH": str(project_folder())}
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


_PROGRAM = """
import sys
from pathlib import Path
import wandb
import lab_tracker as tracking

folder = Path(sys.argv[1])
tracking.connect(folder / "first")
with wandb.init(project="p", id="one") as run:
    run.log({"i": 0})
tracking.connect(folder / "second")
run = wandb.init(project="p", id="two")
for i in range(500):
    run.log({"i": i})
"""


def test_the_sdk_follows_to_another_folder_and_ends_with_the_process(tmp_path):
    """The second run is not finished: the SDK does that while Python ends, with the server in the
    same process."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(project_folder()), "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for name, run, steps in (("first", "one", 1), ("second", "two", 500)):
        store = Store(tmp_path / name)
        found = runs.find_run(store, None, "p", run)
        assert runs.state_of(found) == "finished"
        assert [row["i"] for row in streams.history(store, found["id"])] == list(range(steps))
        store.close()
    assert not (tmp_path / "home").exists()
