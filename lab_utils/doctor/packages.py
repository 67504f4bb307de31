"""The interpreter and its packages: what the project needs, and what is installed.

Read from the packages' metadata, so that packages which cannot be imported are checked as well.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.setup import project
from lab_utils.setup.packages import Package, look_up
from text_recognizer.places import project_folder

OLDEST_PYTHON = (3, 11)
TESTED_PYTHON = (3, 11)

_SHOWN = 6
_INSTALL = "pip install --constraint constraints.txt --editable"


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """The interpreter: new enough, and the one that the pinned versions were tested with."""
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return fix("python", f"{shown} is too old", "make run PYTHON=python3.11")
    if version[:2] != TESTED_PYTHON:
        return note(
            "python",
            f"{shown}; constraints.txt was tested with 3.11",
            "if something does not work: make test PYTHON=python3.11",
        )
    where = "a virtual environment" if sys.prefix != sys.base_prefix else "the system's Python"
    return ok("python", f"{shown}, {where}")


def check_packages() -> list[Finding]:
    """The base installation, the versions, and the extras."""
    if not (project_folder() / "pyproject.toml").is_file():
        return [
            note("packages", "the project's files are not here", "run `lab doctor` in the checkout")
        ]
    base = [look_up(line) for line in project.dependencies()]
    extras = {
        name: [found for line in lines if (found := look_up(line))]
        for name, lines in project.extras().items()
    }
    everything = {one.name: one for found in (base, *extras.values()) for one in found}
    return [_base(base), _versions(everything.values()), _extras(extras)]


def _base(packages: list[Package]) -> Finding:
    wrong = [
        f"{one.name} {'is missing' if one.installed is None else f'{one.installed} does not fit'}"
        for one in packages
        if not one.in_range
    ]
    if wrong:
        return fix("packages", _listed(wrong), f"{_INSTALL} .")
    return ok("packages", f"the {len(packages)} that `lab run` needs are installed")


def _versions(packages: Iterable[Package]) -> Finding:
    tested = _tested(project_folder() / "constraints.txt")
    there = [one for one in packages if one.installed and _canonical(one.name) in tested]
    other = [
        f"{one.name} {one.installed} (tested: {version})"
        for one in there
        if _plain(one.installed) != _plain(version := tested[_canonical(one.name)])
    ]
    if other:
        return note("versions", _listed(other), f"{_INSTALL} . installs the tested ones")
    return ok("versions", f"{len(there)} packages are as in constraints.txt")


def _extras(extras: dict[str, list[Package]]) -> Finding:
    lacking = {
        name: [one.name for one in packages if not one.in_range]
        for name, packages in extras.items()
    }
    lacking = {name: names for name, names in lacking.items() if names}
    if not lacking:
        return ok("extras", f"all are installed: {', '.join(extras)}")
    found = [f"{name} lacks {_listed(names)}" for name, names in lacking.items()]
    return note("extras", "; ".join(found), f"{_INSTALL} '.[{','.join(lacking)}]'")


def _tested(path: Path) -> dict[str, str]:
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", path.read_text() if path.is_file() else "")
    return {_canonical(name): version for name, version in pins}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plain(version: str | None) -> str:
    """Without the build label: 2.13.0+cpu is 2.13.0."""
    return (version or "").partition("+")[0]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
