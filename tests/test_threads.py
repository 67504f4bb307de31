"""Threads that sleep while they wait, and no more of them than the process may use."""

import pytest
from conftest import python

from text_recognizer.errors import RecognizerError
from text_recognizer.threads import check_thread_settings, processor_quota

SHOW = """
import os, sys, text_recognizer
assert "torch" not in sys.modules
print(*(os.environ[name] for name in sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "passive 200"),
        ({"OMP_WAIT_POLICY": "active"}, "active 200"),
        ({"OMP_WAIT_POLICY": "", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": " "}, "passive 200"),
    ],
)
def test_importing_the_package_sets_what_torch_reads_before_it_is_loaded(given, shown):
    names = "OMP_WAIT_POLICY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    done = python(SHOW, *names, env={"PATH": "/usr/bin:/bin"} | given, check=True)
    assert done.stdout.strip() == shown


@pytest.mark.parametrize(
    ("text", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), (None, None)]
)
def test_the_quota_of_a_container_is_found(text, quota, tmp_path):
    if text:
        (tmp_path / "cpu.max").write_text(text)
    assert processor_quota(tmp_path) == quota


@pytest.mark.parametrize(
    "setting", [{"OMP_NUM_THREADS": "many"}, {"OMP_NUM_THREADS": "0"}, {"KMP_BLOCKTIME": "-3"}]
)
def test_a_setting_that_is_none_is_refused_with_its_name(setting):
    with pytest.raises(RecognizerError, match=next(iter(setting))):
        check_thread_settings(setting)


@pytest.mark.parametrize(
    "setting",
    [
        *({name: ""} for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")),
        {"OMP_NUM_THREADS": "4,2"},
    ],
)
def test_empty_settings_and_a_number_for_each_level_are_accepted(setting):
    check_thread_settings(setting)


def test_the_command_line_refuses_it(refused, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "sleepy")
    line = refused("read", "page.png")
    assert line == 'lab: OMP_WAIT_POLICY is "sleepy"; set it to passive or active.\n'
