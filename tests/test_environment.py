"""The three lists of versions agree: ranges in pyproject, pins in constraints, conda's environment.

A pin out of its range, or a version that moved in one file alone, fails here instead of on a
student's machine.
"""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def declared() -> list[Requirement]:
    project = pyproject()
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for lines in lists for line in lines]


def pins() -> dict[str, Version]:
    """Canonical name -> the one version that constraints.txt allows."""
    found: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"constraints.txt: {line!r} is no exact pin"
        name = canonicalize_name(requirement.name)
        assert name not in found, f"constraints.txt names {name} twice"
        found[name] = Version(specifier.version)
    return found


def conda() -> tuple[list[str], list[str]]:
    """The conda packages and the lines of the pip section of environment.yml."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    packages = [entry for entry in entries if isinstance(entry, str)]
    (section,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    return packages, section


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_pin_within_its_range(requirement):
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"constraints.txt has no pin for {requirement.name}"
    assert requirement.specifier.contains(pinned, prereleases=True)


def test_pins_carry_no_build_of_one_platform():
    local = [f"{name}=={version}" for name, version in pins().items() if version.local]
    assert not local, "such versions are not to be had everywhere"


def test_conda_versions_are_the_constraints_versions():
    _, section = conda()
    exact = [Requirement(line) for line in section if not line.startswith("--")]
    assert exact
    pinned = pins()
    for requirement in exact:
        name = canonicalize_name(requirement.name)
        assert str(requirement.specifier) == f"=={pinned.get(name)}", requirement


def test_conda_installs_this_project_under_the_constraints():
    _, section = conda()
    listed = {
        canonicalize_name(Requirement(line).name) for line in section if not line.startswith("--")
    }
    base = {canonicalize_name(Requirement(line).name) for line in pyproject()["dependencies"]}
    assert base <= listed
    assert "--constraint constraints.txt" in section
    (editable,) = (line for line in section if line.startswith("--editable"))
    extras = set(re.fullmatch(r"--editable \.\[(.*)\]", editable)[1].split(","))
    # Ray is half a gigabyte, and one command of the lab uses it.
    assert extras == set(pyproject()["optional-dependencies"]) - {"ray"}


def test_set_up_files_name_no_host():
    """Which index packages come from is the machine's business, not the project's."""
    for name in ["pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"]:
        text = (ROOT / name).read_text()
        text = re.sub(r"(?m)^Repository = .*$", "", text)  # the project's own address
        assert not re.search(r"https?://|index-url[ =]", text), name


STAND_IN_PYTHON = """\
#!/bin/sh
# Writes down what it is asked for, and makes environments that hold nothing but itself.
case "$*" in
"-m venv "*) echo venv >> calls; mkdir -p .venv/bin; sleep 0.3; cp "$0" .venv/bin/python;;
"-m pip "*) test -x .venv/bin/python && echo pip >> calls; sleep 0.3;;
"-m lab_utils.cli "*) echo run >> calls;;
"-m jupyterlab "*) echo "$@" >> calls;;
*) exec python3 "$@";;
esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_two_makes_at_once_set_up_one_environment_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "it's a $HOME of \u00fcmlauts"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    python = folder / "python"
    python.write_text(STAND_IN_PYTHON)
    python.chmod(0o755)
    both = [subprocess.Popen(["make", "run", "PYTHON=./python"], cwd=folder) for _ in range(2)]
    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert (folder / "calls").read_text().split() == ["venv", "pip", "pip", "run", "run"]
    subprocess.run(["make", "run", "PYTHON=./python"], cwd=folder, check=True)
    assert (folder / "calls").read_text().split()[5:] == ["run"], "it was all there"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_lab_opens_a_copy_and_keeps_what_a_student_has_done(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(STAND_IN_PYTHON)
    python.chmod(0o755)
    for folder, text in (("notebooks", "official"), ("my_notebooks", "solved")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "01_first.ipynb").write_text(text)
    (tmp_path / "notebooks" / "02_second.ipynb").write_text("official")
    subprocess.run(["make", "lab", "PYTHON=./python"], cwd=tmp_path, check=True)
    mine = {path.name: path.read_text() for path in (tmp_path / "my_notebooks").iterdir()}
    assert mine == {"01_first.ipynb": "solved", "02_second.ipynb": "official"}
    assert "/lab/tree/my_notebooks/01_first.ipynb" in (tmp_path / "calls").read_text()
