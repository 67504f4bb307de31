"""`lab doctor`: a thing of each kind that is broken is told with what to do, nothing secret gets
out, and nothing is written."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab_tracker.storage import Store
from lab_utils import doctor
from lab_utils.doctor import machine, settings, software
from lab_utils.doctor.finding import Finding
from lab_utils.doctor.probe import Told, ask_torch
from text_recognizer import model_file

ROOT = Path(__file__).resolve().parents[1]
SECRET = "2secret3token4"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """The lab's folder and the home folder are empty ones, and no variable is set."""
    for name in ("LAB_HOME", "LAB_MODEL", "NGROK_AUTHTOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "LAB_TRACKING_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    (tmp_path / "home").mkdir()
    return tmp_path


def doctor_process(*words, **variables):
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


# The whole report


def test_the_report_has_a_line_for_each_thing_and_writes_nothing(own_folder, stand_in_path):
    variables = {"LAB_MODEL": stand_in_path, "NGROK_AUTHTOKEN": SECRET, "WANDB_API_KEY": SECRET}
    done = doctor_process("lab_utils.cli", "doctor", **variables)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note", "fix"}
    checks = [line.split()[1] for line in lines]
    for name in "python packages torch model weights tracker disk memory".split():
        assert name in checks
    for line in lines:
        assert line.startswith("ok") != (" -> " in line), "all but ok say what to do"
    assert done.returncode == (2 if any(line.startswith("fix") for line in lines) else 0)
    assert any(line.startswith("ok   model") for line in lines), "the process loads it"
    assert SECRET not in done.stdout
    assert not (own_folder / "lab").exists() and not list((own_folder / "home").iterdir())


def test_it_runs_where_packages_cannot_be_imported(own_folder):
    """A folder before all others holds packages of the same names that fail."""
    broken = "torch numpy PIL gradio wandb fastapi uvicorn starlette packaging typer".split()
    folder = own_folder / "broken"
    for name in broken:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"raise ImportError('{name} is broken', name='{name}')"
        )
    done = doctor_process("lab_utils.doctor", PYTHONPATH=str(folder))
    assert done.stderr == "" and done.returncode == 2
    (torch,) = (line for line in done.stdout.splitlines() if line.split()[1] == "torch")
    assert torch.startswith("fix") and "torch is broken" in torch and "pip install" in torch
    assert "Traceback" not in done.stdout
    assert " tracker " in done.stdout and " memory " in done.stdout


def test_a_look_that_fails_is_a_line_and_the_others_are_taken(monkeypatch, own_folder):
    def broken():
        raise OSError("the disk is gone")

    monkeypatch.setitem(doctor.LOOKS, "disk", broken)
    monkeypatch.setattr(doctor, "ask_torch", lambda model: ask_torch(None, "pass"))
    found = {one.check: one for one in doctor.examine()}
    assert found["disk"].mark == "fix" and "the disk is gone" in found["disk"].found
    assert found["folder"].mark == "ok"
    assert found["torch"].mark == "fix", "the process that imports it said nothing"


# Python and packages


def packages_with(monkeypatch, **versions) -> dict[str, Finding]:
    """The findings where packages have other versions, or None for not there."""
    look_up = metadata.version

    def version(name):
        if name not in versions:
            return look_up(name)
        if versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    return {one.check: one for one in software.check_packages()}


def test_packages_that_are_missing_or_of_another_version(monkeypatch):
    found = packages_with(monkeypatch, torch=None, typer="0.1", gradio="6.999")
    assert found["packages"].mark == "fix"
    assert "torch>=2.9 (none is installed)" in found["packages"].found
    assert "(0.1 is installed)" in found["packages"].found
    assert "constraints.txt" in found["packages"].remedy
    assert found["versions"].mark == "note"
    assert "gradio 6.999 (tested: " in found["versions"].found


# PyTorch, the model and the GPU


@pytest.mark.parametrize(
    "code, said",
    [
        ("print('not JSON')", "ended with code 0"),
        ("import time; time.sleep(60)", "no answer within"),
    ],
)
def test_a_torch_that_crashes_or_hangs_is_told(code, said):
    told = ask_torch(None, code, seconds=1.0)
    assert said in told.error
    assert software.check_torch(told).mark == "fix"


def test_the_model(own_folder, monkeypatch):
    fine = Told(torch="2.13.0")
    assert software.check_model(fine).mark == "note", "not compiled yet"
    path = software.model_path()
    assert path.is_relative_to(own_folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert software.check_model(fine).mark == "ok"
    os.utime(path, (0, 0))
    assert "older" in software.check_model(fine).found
    assert software.check_model(Told(torch="2.13.0", model="It is damaged.")).mark == "fix"
    monkeypatch.setenv("LAB_MODEL", str(own_folder / "none.pt"))
    assert software.check_model(fine).mark == "fix"


def test_the_weights(monkeypatch, tmp_path):
    assert software.check_weights().mark == "ok"
    monkeypatch.setattr(model_file, "project_folder", lambda: tmp_path)
    assert software.check_weights().mark == "fix"


@pytest.mark.parametrize(
    ("name", "value", "check", "mark"),
    [
        ("WANDB_MODE", "offline", "wandb", "fix"),
        ("WANDB_RUN_ID", "abc123", "wandb", "fix"),
        ("WANDB_TAGS", "a,,b", "wandb", "ok"),
        ("OMP_NUM_THREADS", "many", "threads", "fix"),
        ("OMP_WAIT_POLICY", "active", "threads", "note"),
        ("https_proxy", f"http://user:{SECRET}@proxy", "proxies", "note"),
        ("LAB_HOME", __file__, "folder", "fix"),
    ],
)
def test_variables_that_would_bite_later_are_found(monkeypatch, name, value, check, mark):
    monkeypatch.setenv(name, value)
    looks = {
        "wandb": settings.check_wandb,
        "threads": settings.check_threads,
        "proxies": settings.check_proxies,
        "folder": machine.check_folder,
    }
    found = looks[check]()
    assert (found.check, found.mark) == (check, mark)
    assert SECRET not in found.found + found.remedy
    assert mark == "ok" or found.remedy


# The tracker


def test_the_labs_own_tracker(own_folder):
    assert "will keep" in settings.check_tracker().found
    store = Store(own_folder / "lab" / "wandb")
    assert "0 runs" in settings.check_tracker().found, "also while it is in use"
    store.close()
    files_before = sorted((own_folder / "lab" / "wandb").iterdir())
    assert settings.check_tracker().mark == "ok"
    assert sorted((own_folder / "lab" / "wandb").iterdir()) == files_before


def test_a_tracker_that_is_damaged(own_folder):
    folder = own_folder / "lab" / "wandb"
    folder.mkdir(parents=True)
    (folder / "tracking.sqlite").write_bytes(b"no database" * 100)
    assert settings.check_tracker().mark == "fix" and "mv " in settings.check_tracker().remedy


# The machine


def test_memory_and_disk(monkeypatch):
    assert machine.free_memory() > 0
    for free, mark in ((0.2, "fix"), (2.0, "note"), (8.0, "ok")):
        monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
        assert machine.check_memory().mark == mark
        usage = SimpleNamespace(free=free * machine.GIB)
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path, usage=usage: usage)
        assert machine.check_disk().mark == mark
