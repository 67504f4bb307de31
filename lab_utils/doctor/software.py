"""The interpreter, the packages, PyTorch, and the files that it reads with.

Packages are read from their metadata, so that those which cannot be imported are checked as well.
"""

import os
import re
import sys
from pathlib import Path

from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.doctor.probe import Told
from lab_utils.setup import project
from lab_utils.setup.packages import Package, look_up
from text_recognizer.model_file import (
    compiled_model_path,
    fetched_model_path,
    is_current,
    wrong_weights,
)
from text_recognizer.places import project_folder

OLDEST_PYTHON = (3, 11)

_SHOWN = 6
_INSTALL = "pip install --constraint constraints.txt --editable"


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """The interpreter: new enough, and the one that the pinned versions were tested with."""
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return fix("python", f"{shown} is too old", "make run PYTHON=python3.11")
    if version[:2] != OLDEST_PYTHON:
        return note(
            "python",
            f"{shown}; constraints.txt was tested with 3.11",
            "if something does not work: make test PYTHON=python3.11",
        )
    return ok("python", shown)


def check_packages() -> list[Finding]:
    """What commands and notebooks need: is it there, and in the tested versions?"""
    if not (project_folder() / "pyproject.toml").is_file():
        return [
            note("packages", "the project's files are not here", "run `lab doctor` in the checkout")
        ]
    base = [look_up(line) for line in project.dependencies()]
    needed = [found for line in project.requirements() if (found := look_up(line))]
    return [_installed(base, needed), _versions(needed)]


def _installed(base: list[Package], needed: list[Package]) -> Finding:
    if wrong := [str(one) for one in base if not one.in_range]:
        return fix("packages", f"wrong or missing: {_listed(wrong)}", f"{_INSTALL} .")
    if wrong := [str(one) for one in needed if not one.in_range]:
        return note("packages", f"notebooks need {_listed(wrong)}", f"{_INSTALL} '.[lab]'")
    return ok("packages", f"the {len(needed)} that commands and notebooks need are installed")


def _versions(packages: list[Package]) -> Finding:
    tested = _tested(project_folder() / "constraints.txt")
    there = [one for one in packages if one.installed and _canonical(one.name) in tested]
    other = [
        f"{one.name} {one.installed} (tested: {version})"
        for one in there
        if one.installed.partition("+")[0] != (version := tested[_canonical(one.name)])
    ]
    if other:
        return note("versions", _listed(other), f"{_INSTALL} . installs the tested ones")
    return ok("versions", f"{len(there)} packages are as in constraints.txt")


def _tested(path: Path) -> dict[str, str]:
    """The pinned versions, without a build label: 2.13.0+cpu is 2.13.0."""
    pins = re.findall(r"(?m)^([\w.-]+)==([^\s+]+)", path.read_text() if path.is_file() else "")
    return {_canonical(name): version for name, version in pins}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def check_weights() -> Finding:
    """The packaged weights, from which every model here is made."""
    folder = project_folder() / "data" / "weights"
    wrong = wrong_weights()
    if wrong:
        found = f"{', '.join(wrong)} in {folder}: missing, or not as packaged"
        return fix("weights", found, "git checkout data/weights")
    return ok("weights", f"all in {folder}, with their digests")


def check_torch(told: Told) -> Finding:
    """Whether PyTorch can be imported."""
    if told.error:
        return fix(
            "torch",
            f"it does not start ({' '.join(told.error.split())[:160]})",
            "pip install --force-reinstall --constraint constraints.txt torch",
        )
    kind = f"built for CUDA {told.cuda}" if told.cuda else "built for CPUs"
    return ok("torch", f"{told.torch} starts, {kind}; GPU: {told.gpu or 'none'}")


def model_path() -> Path:
    """The file that reads; the packaged one may not be there yet."""
    if named := os.environ.get("LAB_MODEL"):
        return Path(named)
    fetched = fetched_model_path()
    return fetched if fetched.is_file() else compiled_model_path()


def check_model(told: Told) -> Finding:
    """The TorchScript file that reads: is it there, current, and does it load?"""
    path, named = model_path(), os.environ.get("LAB_MODEL")
    compiling = "lab compile, or the first use compiles it"
    if not path.is_file():
        if named:
            return fix("model", f"LAB_MODEL names {named}, which is not there", "unset LAB_MODEL")
        return note("model", f"{path} is not compiled yet", compiling)
    if told.model:
        return fix("model", told.model, "unset LAB_MODEL" if named else "lab compile")
    if told.error:
        return note("model", f"{path} was not loaded, since PyTorch does not start", "see torch")
    if path == compiled_model_path() and not is_current(path):
        return note("model", f"{path} is older than its code", compiling)
    return ok("model", f"{path} loads")
