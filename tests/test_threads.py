"""Threads that sleep while they wait, and no more of them than the process may use."""

import subprocess
import sys

import pytest

from text_recognizer.errors import RecognizerError
from text_recognizer.threads import check_thread_settings, processor_quota

SHOW = "import os, text_recognizer; print(os.environ['OMP_WAIT_POLICY'])"


@pytest.mark.parametrize(
    ("given", "shown"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")]
)
def test_importing_the_package_sets_the_policy_before_torch_is_loaded(given, shown, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SHOW + "; import sys; assert 'torch' not in sys.modules"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **given},
        check=True,
    )
    assert done.stdout.strip() == shown


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_found(files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert processor_quota(tmp_path) == quota


@pytest.mark.parametrize(
    "setting",
    [
        {"OMP_NUM_THREADS": "many"},
        {"OMP_NUM_THREADS": "0"},
        {"KMP_BLOCKTIME": "-3"},
    ],
)
def test_a_setting_that_is_none_is_refused_with_its_name(setting):
    with pytest.raises(RecognizerError, match=next(iter(setting))):
        check_thread_settings(setting)


def test_the_command_line_refuses_it(lab, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "sleepy")
    code, out, err = lab("read", "page.png")
    assert (code, out) == (2, "")
    assert err == 'lab: OMP_WAIT_POLICY is "sleepy"; set it to passive or active.\n'
