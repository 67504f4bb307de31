"""The lists of versions agree, and `make` sets the environment up once, whatever else goes on.

A pin out of its range fails here instead of on a student's machine.
"""

import itertools
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import program
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pins() -> dict[str, Version]:
    """Canonical name -> the one version that constraints.txt allows."""
    found: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        version, name = Version(specifier.version), canonicalize_name(requirement.name)
        assert specifier.operator == "==" and name not in found, line
        assert not version.local, "such a version is not to be had everywhere"
        found[name] = version
    return found


def test_every_dependency_has_a_pin_within_its_range():
    pinned = pins()
    for line in itertools.chain(PROJECT["dependencies"], *EXTRAS.values()):
        requirement = Requirement(line)
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is not None and requirement.specifier.contains(pin, prereleases=True), line


def test_students_install_what_notebook_01_exports_with():
    """PyTorch imports `onnx` itself: no import of ours would show that it is missing."""
    assert {"onnx", "onnxruntime"} <= {Requirement(line).name for line in EXTRAS["lab"]}


def test_conda_installs_this_project_under_the_constraints():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (section,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    constraint, editable = section
    assert constraint == "--constraint constraints.txt"
    # Ray is half a gigabyte, and one command of the lab uses it; wordfreq makes one of its files.
    installed = re.fullmatch(r"--editable \.\[(.*)\]", editable)[1]
    assert set(installed.split(",")) == set(EXTRAS) - {"ray", "words"}


def test_no_file_names_a_host_to_install_from():
    """Which index or registry packages and images come from is the machine's business."""
    names = "pyproject.toml constraints.txt environment.yml Makefile .ci/run".split()
    deploy = [one for one in (ROOT / "deploy").rglob("*") if one.is_file() and one.suffix != ".md"]
    assert len(deploy) > 5
    for path in [*(ROOT / name for name in names), *deploy]:
        # The project's own address, a pattern of addresses, and this machine.
        own = r"(?m)^Repository = .*$|^.*AllowedPattern:.*$|http://127\.0\.0\.1"
        text = re.sub(own, "", path.read_text())
        assert not re.search(r"https?://|index-url", text), path


STAND_IN_PYTHON = """\
# Writes down what it is asked for, and makes environments that hold nothing but itself.
case "$*" in
"-m venv "*) echo venv >> calls; mkdir -p .venv/bin; sleep 0.3; cp "$0" .venv/bin/python;;
"-m pip "*) test -x .venv/bin/python && echo pip >> calls; sleep 0.3;;
"-m lab_utils.cli "*) echo run >> calls;;
"-m jupyterlab "*) echo "$@" >> calls;;
*) exec python3 "$@";;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder of an odd name with what make reads, and the stand-in for Python."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    folder = tmp_path / "it's a $HOME of \u00fcmlauts"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    program(folder / "python", STAND_IN_PYTHON)
    return folder


def test_two_makes_at_once_set_up_one_environment(checkout):
    make = ["make", "run", "PYTHON=./python"]
    both = [subprocess.Popen(make, cwd=checkout) for _ in range(2)]
    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert (checkout / "calls").read_text().split() == ["venv", "pip", "pip", "run", "run"]
    subprocess.run(make, cwd=checkout, check=True)
    assert (checkout / "calls").read_text().split()[5:] == ["run"], "it was all there"


def test_make_lab_opens_a_copy_and_keeps_what_a_student_has_done(checkout):
    for folder, text in (("notebooks", "official"), ("my_notebooks", "solved")):
        (checkout / folder).mkdir()
        (checkout / folder / "01_first.ipynb").write_text(text)
    (checkout / "notebooks" / "02_second.ipynb").write_text("official")
    subprocess.run(["make", "lab", "PYTHON=./python"], cwd=checkout, check=True)
    mine = {path.name: path.read_text() for path in (checkout / "my_notebooks").iterdir()}
    assert mine == {"01_first.ipynb": "solved", "02_second.ipynb": "official"}
    assert "/lab/tree/my_notebooks/01_first.ipynb" in (checkout / "calls").read_text()
