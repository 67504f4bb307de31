"""The interpreter and its packages: what the project asks for, against what is installed.

Read from the packages' metadata, so that one that cannot be imported is looked at all the same.
"""

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from lab_utils.doctor.finding import Finding, fix, note, ok
from text_recognizer.places import project_folder

OLDEST_PYTHON = (3, 11)
TESTED_PYTHON = (3, 11)

_SHOWN = 6
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_INSTALL = "pip install --constraint constraints.txt --editable"


class Package(NamedTuple):
    """A package that the project asks for, and how it stands here."""

    name: str
    installed: str | None
    in_range: bool
    tested: str | None
    """The version in constraints.txt."""


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """The interpreter: new enough, and the one that the pinned versions were tested with."""
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return fix("python", f"{shown} is too old", "make run PYTHON=python3.11")
    if version[:2] != TESTED_PYTHON:
        return note(
            "python",
            f"{shown}; constraints.txt was tested with 3.11",
            "make test PYTHON=python3.11 where something does not work",
        )
    where = "an environment" if sys.prefix != sys.base_prefix else "no environment of its own"
    return ok("python", f"{shown}, in {where}")


def check_packages() -> list[Finding]:
    """The base installation, the versions, and the extras."""
    import tomllib  # new in 3.11: an older Python is still told that it is too old

    project = project_folder() / "pyproject.toml"
    if not project.is_file():
        return [note("packages", "the project's files are not here", "run it in the checkout")]
    asked = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    tested = _tested(project.with_name("constraints.txt"))
    base = [_look_up(line, tested) for line in asked["dependencies"]]
    extras = {
        name: [found for line in lines if (found := _look_up(line, tested, if_needed=True))]
        for name, lines in asked["optional-dependencies"].items()
    }
    optional = [one for found in extras.values() for one in found]
    everything = {one.name: one for one in [*base, *optional]}
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
    there = [one for one in packages if one.installed and one.tested]
    other = [
        f"{one.name} {one.installed} (tested: {one.tested})"
        for one in there
        if _plain(one.installed) != _plain(one.tested)
    ]
    if other:
        return note("versions", _listed(other), f"{_INSTALL} . brings the tested ones")
    return ok("versions", f"{len(there)} packages are as in constraints.txt")


def _extras(extras: dict[str, list[Package]]) -> Finding:
    lacking = {
        name: [one.name for one in packages if not one.in_range]
        for name, packages in extras.items()
    }
    lacking = {name: names for name, names in lacking.items() if names}
    if not lacking:
        return ok("extras", f"all are installed: {', '.join(extras)}")
    told = [f"{name} lacks {_listed(names)}" for name, names in lacking.items()]
    return note("extras", "; ".join(told), f"{_INSTALL} '.[{','.join(lacking)}]'")


def _look_up(line: str, tested: dict[str, str], if_needed: bool = False) -> Package | None:
    """How the package of a requirement stands; None for one that this system has no need of.

    Without `packaging`, which is one of them, it is only told whether it is installed.
    """
    name = _NAME.match(line)[0]
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        installed = None
    in_range = installed is not None
    try:
        from packaging.requirements import Requirement
    except ImportError:
        pass
    else:
        requirement = Requirement(line)
        if if_needed and requirement.marker and not requirement.marker.evaluate():
            return None
        in_range = in_range and requirement.specifier.contains(installed, prereleases=True)
    return Package(name, installed, in_range, tested.get(_canonical(name)))


def _tested(path: Path) -> dict[str, str]:
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", path.read_text() if path.is_file() else "")
    return {_canonical(name): version for name, version in pins}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _plain(version: str | None) -> str:
    """Without what says how it was built: 2.13.0+cpu is 2.13.0."""
    return (version or "").partition("+")[0]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
