"""Other programs that download: a network that is away is noticed soon, and a full disk is called
a full disk."""

import os
import shutil

import pytest
from conftest import program


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_registry_that_does_not_answer_is_asked_once(lab, tmp_path, monkeypatch, serve):
    """By itself, npm asks three times, which takes more than a minute."""
    registry = serve(lambda connection, request: None)
    monkeypatch.setenv("npm_config_registry", registry.url)
    monkeypatch.setenv("LAB_FONTS", str(tmp_path))
    code, _, err = lab("fonts")
    assert code == 2 and "check the network" in err.splitlines()[-1]
    assert len(registry.requests) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["npm error code ENOSPC", "[Errno 28] No space left on device"])
def test_a_full_disk_is_no_trouble_with_the_network(lab, tmp_path, monkeypatch, words):
    program(tmp_path / "npm", f"echo '{words}' >&2; exit 228")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fonts = tmp_path / "fonts"
    monkeypatch.setenv("LAB_FONTS", str(fonts))
    code, _, err = lab("fonts")
    assert code == 2
    assert f"lab: {fonts}: No space left on device; free some space" in err
    assert "network" not in err
