"""`lab doctor`: a thing of each kind that is broken is told with what to do, nothing secret gets
out, and nothing is written."""

import os
from importlib import metadata
from types import SimpleNamespace

import pytest
from conftest import lab_process, python

from lab_tracker.storage import Store
from lab_utils import doctor
from lab_utils.doctor import machine, software
from lab_utils.doctor.software import ask_torch
from lab_utils.setup import project
from text_recognizer import model_file

SECRET = "2secret3token4"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """The lab's folder and the home folder are empty ones, and no variable is set."""
    for name in os.environ:
        if name.startswith(("WANDB_", "LAB_", "NGROK_")) and name != "LAB_TRUST_MODEL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    (tmp_path / "home").mkdir()
    return tmp_path


def test_the_report_has_a_line_for_each_thing_and_writes_nothing(own_folder, stand_in_path):
    variables = {"LAB_MODEL": stand_in_path, "NGROK_AUTHTOKEN": SECRET, "WANDB_API_KEY": SECRET}
    with lab_process("doctor", variables=variables) as done:
        out, err = done.communicate(timeout=120)
    assert err == ""
    lines = out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note", "fix"}
    assert {line.split()[1] for line in lines} == {*doctor.LOOKS, "torch", "model"}
    for line in lines:
        assert line.startswith("ok") != (" -> " in line), "all but ok say what to do"
    assert done.returncode == (2 if any(line.startswith("fix") for line in lines) else 0)
    assert any(line.startswith("ok   model") for line in lines), "the process loads it"
    assert SECRET not in out
    assert not (own_folder / "lab").exists() and not list((own_folder / "home").iterdir())


def test_it_runs_where_packages_cannot_be_imported(own_folder):
    """A folder before all others holds packages of the same names that fail."""
    folder = own_folder / "broken"
    for name in "torch numpy PIL gradio wandb fastapi uvicorn starlette packaging typer".split():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"raise ImportError('{name} is broken', name='{name}')"
        )
    code = "import runpy; runpy.run_module('lab_utils.doctor', run_name='__main__')"
    done = python(code, env=os.environ | {"PYTHONPATH": str(folder)})
    assert done.stderr == "" and done.returncode == 2
    (torch,) = (line for line in done.stdout.splitlines() if line.split()[1] == "torch")
    assert torch.startswith("fix") and "torch is broken" in torch and "pip install" in torch
    assert "Traceback" not in done.stdout
    assert " tracker " in done.stdout and " memory " in done.stdout


def test_a_look_that_fails_is_a_line_and_the_others_are_taken(monkeypatch):
    def broken():
        raise OSError("the disk is gone")

    monkeypatch.setitem(doctor.LOOKS, "disk", broken)
    monkeypatch.setattr(software, "ask_torch", lambda model: ask_torch(None, "pass"))
    found = doctor.examine()
    assert found["disk"].mark == "fix" and "the disk is gone" in found["disk"].found
    assert found["folder"].mark == "ok"
    assert found["torch"].mark == "fix", "the process that imports it said nothing"


def test_packages_that_are_missing_or_of_another_version(monkeypatch):
    look_up, versions = metadata.version, {"torch": None, "typer": "0.1", "gradio": "6.999"}

    def version(name):
        if versions.get(name, "") is None:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or look_up(name)

    monkeypatch.setattr(metadata, "version", version)
    packages, other = software.check_packages(), software.check_versions()
    assert packages.mark == "fix" and "constraints.txt" in packages.remedy
    assert "torch>=2.9 (none is installed)" in packages.found
    assert "(0.1 is installed)" in packages.found
    assert other.mark == "note" and "(6.999 is installed)" in other.found


def test_without_the_projects_files_one_note_says_so(monkeypatch, tmp_path):
    for module in (software, project):
        monkeypatch.setattr(module, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(software, "ask_torch", lambda model: ask_torch(None, "pass"))
    found = doctor.examine()
    assert found["packages"].mark == "note" and "in the checkout" in found["packages"].remedy
    assert found["versions"].mark == "ok"


@pytest.mark.parametrize(
    "code, said",
    [
        ("print('not JSON')", "ended with code 0"),
        ("import time; time.sleep(60)", "no answer within"),
    ],
)
def test_a_torch_that_crashes_or_hangs_is_told(code, said):
    answer = ask_torch(None, code, seconds=1.0)
    assert said in answer["error"]
    assert software.check_torch(answer).mark == "fix"


def test_the_model(own_folder, monkeypatch):
    assert software.check_model({}).mark == "note", "not compiled yet"
    path = software.model_path()
    assert path.is_relative_to(own_folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert software.check_model({}).mark == "ok"
    os.utime(path, (0, 0))
    assert "older" in software.check_model({}).found
    assert software.check_model({"model": "It is damaged."}).mark == "fix"
    monkeypatch.setenv("LAB_MODEL", str(own_folder / "none.pt"))
    assert software.check_model({}).mark == "fix"


def test_the_weights(monkeypatch, tmp_path):
    assert software.check_weights().mark == "ok"
    monkeypatch.setattr(model_file, "project_folder", lambda: tmp_path)
    assert software.check_weights().mark == "fix"


@pytest.mark.parametrize(
    ("name", "value", "check", "mark"),
    [
        ("WANDB_MODE", "offline", machine.check_wandb, "fix"),
        ("WANDB_TAGS", "a,,b", machine.check_wandb, "ok"),
        ("OMP_NUM_THREADS", "many", machine.check_threads, "fix"),
        ("OMP_WAIT_POLICY", "active", machine.check_threads, "note"),
        ("https_proxy", f"http://user:{SECRET}@proxy", machine.check_proxies, "note"),
        ("LAB_HOME", __file__, machine.check_folder, "fix"),
        ("LAB_LANGUAGE_MODEL", "English", software.check_language_model, "fix"),
    ],
)
def test_variables_that_would_bite_later_are_found(monkeypatch, name, value, check, mark):
    monkeypatch.setenv(name, value)
    found = check()
    assert found.mark == mark
    assert SECRET not in found.found + found.remedy
    assert mark == "ok" or found.remedy


def test_the_labs_own_tracker(own_folder, monkeypatch):
    assert "will keep" in machine.check_tracker().found
    folder = own_folder / "lab" / "wandb"
    store = Store(folder)
    assert "0 runs" in machine.check_tracker().found, "also while it is in use"
    store.close()
    files_before = sorted(folder.iterdir())
    assert machine.check_tracker().mark == "ok"
    assert sorted(folder.iterdir()) == files_before
    with monkeypatch.context() as patch:
        patch.setattr(machine, "_count_runs", lambda database: 1)
        assert ", 1 run in " in machine.check_tracker().found
    (folder / machine.DATABASE).write_bytes(b"no database" * 100)
    damaged = machine.check_tracker()
    assert damaged.mark == "fix" and "mv " in damaged.remedy


def test_memory_disk_and_load(monkeypatch):
    assert machine.free_memory() > 0
    for free, mark in ((0.2, "fix"), (2.0, "note"), (8.0, "ok")):
        monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
        assert machine.check_memory().mark == mark
        usage = SimpleNamespace(free=free * machine.GIB)
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path, usage=usage: usage)
        assert machine.check_disk().mark == mark
    for programs, mark in ((0.5, "ok"), (50.0, "note")):
        monkeypatch.setattr(machine, "usable_processors", lambda: 2)
        monkeypatch.setattr(machine.os, "getloadavg", lambda load=programs: (load, 0, 0))
        assert machine.check_load().mark == mark
