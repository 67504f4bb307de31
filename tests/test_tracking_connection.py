"""What `tracking.connect()` does to the environment, and that two programs can share a folder."""

import os

import httpx
import pytest
from conftest import python
from tracking_client import Client, path_with

import lab_tracker as tracking
from lab_tracker import runs, streams
from lab_tracker.storage import Store


def settings() -> dict[str, str]:
    """What is set for the SDK and the tracker."""
    return {n: v for n, v in os.environ.items() if n.startswith(("WANDB_", "LAB_TRACKING_"))}


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """One setting of the user, and a lab folder of its own. What a test starts is stopped."""
    for name in settings():
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("WANDB_SILENT", "false")
    yield
    tracking.disconnect()


def test_without_a_key_a_tracker_starts_and_all_is_taken_back(tmp_path):
    made = tracking.connect()
    assert made.folder == tmp_path / "lab" / "wandb"
    assert os.environ["WANDB_BASE_URL"] == made.url
    assert len(os.environ["WANDB_API_KEY"]) == 40
    assert os.environ["WANDB_SILENT"] == "false"  # what the user has chosen stays
    assert made.project_url("p") == f"{made.url}/lab/p"
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "DIR", "ARTIFACT_DIR"):
        folder = os.environ[f"WANDB_{name}"]
        assert folder.startswith(str(tmp_path)) and os.path.isdir(folder)
    client = Client(made.url, os.environ["WANDB_API_KEY"])
    assert client.graphql("query V { viewer { entity } }") == {"viewer": {"entity": "lab"}}
    tracking.disconnect()
    assert settings() == {"WANDB_SILENT": "false"}
    with pytest.raises(httpx.TransportError):
        client.get("/")


def test_with_a_key_nothing_is_touched_and_nothing_started(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    made = tracking.connect()
    assert (made.folder, made.url) == (None, "https://wandb.ai")
    assert settings() == {"WANDB_SILENT": "false", "WANDB_API_KEY": "f" * 40}
    tracking.disconnect()
    assert settings()["WANDB_API_KEY"] == "f" * 40
    assert not (tmp_path / "lab").exists()


def test_a_key_that_comes_later_wins(monkeypatch):
    local = tracking.connect()
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    assert tracking.connect().folder is None
    assert settings() == {"WANDB_SILENT": "false", "WANDB_API_KEY": "f" * 40}
    monkeypatch.delenv("WANDB_API_KEY")
    assert tracking.connect().url == local.url


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    tracking.connect()
    assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    tracking.disconnect()
    assert os.environ["NO_PROXY"] == "intranet.example"


def test_a_folder_that_cannot_be_used_changes_nothing(tmp_path):
    (tmp_path / "tracking.sqlite").write_bytes(b"no database" * 1000)
    for folder, why in ((tmp_path / "tracking.sqlite", "cannot use"), (tmp_path, "not a database")):
        with pytest.raises(tracking.TrackingError, match=why):
            tracking.connect(folder)
    assert settings() == {"WANDB_SILENT": "false"}


def printed(code: str, *arguments: object, **variables: str) -> str:
    """What a program prints that must end well."""
    environment = path_with(os.path.dirname(__file__)) | variables
    done = python(code, *arguments, env=environment, cwd=None)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_CHILD = """
import os
import lab_tracker as tracking
from tracking_client import Client
made = tracking.connect()
client = Client(made.url, os.environ["WANDB_API_KEY"])
client.log("model", {"a": b"from the child"}, run="of-the-parent")
print(made.url)
"""


def test_a_child_process_shares_the_folder(tmp_path):
    """As `!lab ...` in a notebook: it inherits the variables, and has a server of its own."""
    made = tracking.connect(tmp_path / "mine")
    parent = Client(made.url, os.environ["WANDB_API_KEY"])
    parent.run("of-the-parent")
    assert printed(_CHILD) != made.url
    [version] = parent.versions("model").values()
    assert parent.get(version["files"][0]["directUrl"]) == b"from the child"


def test_importing_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed("""
import os, sys, threading
before = dict(os.environ)
import lab_tracker, lab_utils.commands.tracking
assert dict(os.environ) == before and threading.active_count() == 1
assert not {"fastapi", "uvicorn", "wandb", "graphql", "jinja2", "torch"} & set(sys.modules)
""")
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
    printed(_PROGRAM, tmp_path, HOME=str(tmp_path / "home"))
    for name, run, steps in (("first", "one", 1), ("second", "two", 500)):
        store = Store(tmp_path / name)
        found = runs.find_run(store, None, "p", run)
        assert runs.state_of(found) == "finished"
        assert [row["i"] for row in streams.history(store, found["id"])] == list(range(steps))
        store.close()
    assert not (tmp_path / "home").exists()
