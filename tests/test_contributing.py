"""CONTRIBUTING.md is true: its commands and folders are there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import parses

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text()


def commands() -> list[str]:
    """Every command of the page, from its blocks and from the table of pictures."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
    lines = [re.sub(r"\s{2,}#.*", "", line) for line in blocks.splitlines()]
    inline = re.findall(r"`((?:lab|make|python) [^`]+)`", TEXT)
    return [one for line in [*lines, *inline] for one in re.split(r" && ", line)]


@pytest.mark.parametrize("command", commands())
def test_each_command_is_one(command):
    program, *words = shlex.split(command)
    if program == "lab":
        parses(command)
    elif program == "make":
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    elif program == "source":
        assert command in (ROOT / "README.md").read_text()
    else:
        assert program == "python"
    files = [word for word in words if "/" in word and not word.startswith(".venv")]
    assert all((ROOT / word).exists() for word in files), files


def test_the_table_has_the_folders_that_are_there():
    table = TEXT[TEXT.index("| folder | subject |") : TEXT.index("`text_recognizer/paragraph")]
    places = re.findall(r"`([^`]+)`", "".join(row.split(" | ")[0] for row in table.splitlines()))
    assert len(places) > 20 and all((ROOT / place).exists() for place in places), places
    packages = [*ROOT.glob("text_recognizer/*/__init__.py"), *ROOT.glob("lab_utils/*/__init__.py")]
    assert {f"{one.parent.relative_to(ROOT)}/" for one in packages} <= set(places)
