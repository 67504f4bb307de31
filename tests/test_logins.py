"""Passwords stay off the command line, which all users of a machine can read."""

import re

import pytest

from text_recognizer.places import project_folder


@pytest.mark.parametrize(
    ("command", "variable"),
    [("app", "LAB_APP_AUTH"), ("demo", "LAB_TUNNEL_AUTH"), ("tunnel", "LAB_TUNNEL_AUTH")],
)
def test_the_environment_holds_the_login(lab, refused, monkeypatch, command, variable):
    monkeypatch.setenv(variable, "no-colon")
    assert "A login is NAME:PASSWORD" in refused(command)
    shown = " ".join(lab(command, "--help")[1].split())
    assert "default: made" not in shown, "that is no password"


def test_no_page_and_no_help_shows_a_password_on_a_command_line():
    root = project_folder()
    places = "*.md", "docs/*.md", "deploy/*", "lab_utils/**/*.md", "lab_utils/commands/*.py"
    pages = [page for place in (*places, "notebooks/source/*.py") for page in root.glob(place)]
    assert len(pages) > 30
    for page in filter(lambda page: page.is_file(), pages):
        # "NAME:PASSWORD" is the form, named beside the variable to use instead.
        assert not re.search(r"--auth[ =](?!NAME:)[\w-]+:", page.read_text()), page
