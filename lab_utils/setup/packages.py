"""What the notebooks need and this Python lacks, and installing it with pip on Colab.

On Colab the large packages keep their versions, whatever pip finds: the session has already
imported some of them, and new versions of others would fit these only after a restart.
"""

import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from lab_utils.setup import project
from lab_utils.setup.project import SetupError

NEVER_MOVED = ("torch", "torchvision", "torchaudio", "numpy", "pillow", "ipython", "ipykernel")
"""Colab's own: if one of these is too old, choose a newer runtime.

Not everything that is installed: Colab's packages don't quite fit each other, and pip would refuse
pins that disagree.
"""


class Package(NamedTuple):
    """A package that the project asks for, and what is installed of it."""

    line: str
    """The requirement as it is declared."""
    name: str
    installed: str | None
    in_range: bool

    def __str__(self) -> str:
        return f"{self.line} ({self.installed or 'none'} is installed)"


def look_up(line: str) -> Package | None:
    """What is installed of a requirement; None for one that this system doesn't need.

    Without `packaging`, which may be missing itself, any installed version counts as in range.
    """
    name = re.match(r"[A-Za-z0-9._-]+", line)[0]
    found = installed_version(name)
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Package(line, name, found, found is not None)
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate():
        return None
    in_range = found is not None and requirement.specifier.contains(found, prereleases=True)
    return Package(line, name, found, in_range)


def gaps() -> list[Package]:
    """The requirements of the notebooks that are not installed or out of range."""
    found = filter(None, map(look_up, project.requirements()))
    return [package for package in found if not package.in_range]


def require(root: Path) -> None:
    """Raises SetupError if packages or the command `lab` are not there; installs nothing."""
    missing = [*map(str, gaps()), *([] if shutil.which("lab") else ["the command `lab`"])]
    if missing:
        raise SetupError(
            f"This notebook's Python lacks {_listed(missing)}: run `make lab` in {root}, or there "
            "`pip install -e '.[lab]' -c constraints.txt` with this Python, and restart the kernel."
        )


def install(root: Path) -> None:
    """Installs with pip what is missing or too old, and the command `lab`.

    Raises SetupError if pip fails, or if a package would have to move that must not.
    """
    missing, command = gaps(), shutil.which("lab")
    if not missing and command:
        return
    _refuse_moves(missing)
    names = [gap.name for gap in missing]
    wanted = _listed([*names, *([] if command else ["the command lab"])])
    print(f"Installing {wanted}: once, about a minute.", flush=True)
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            pins = Path(folder, "pins.txt")
            pins.write_text("\n".join([*_pins(), *_bounds(root, names)]), encoding="utf-8")
            _pip("--constraint", str(pins), *[gap.line for gap in missing])
    if not command:
        _pip("--no-deps", "--editable", str(root))
    importlib.invalidate_caches()


def _refuse_moves(missing: list[Package]) -> None:
    fixed = [str(gap) for gap in missing if gap.name in NEVER_MOVED]
    if fixed:
        raise SetupError(
            f"The lab needs {_listed(fixed)}: choose a newer version under Runtime > Change "
            "runtime type, and run this cell again."
        )
    old = [gap.line for gap in missing if gap.installed]
    if old:  # the session may have imported them
        arguments = " ".join(f"'{requirement}'" for requirement in old)
        raise SetupError(
            f"This session has packages that are too old: run `%pip install {arguments}` in a "
            "separate cell, then Runtime > Restart session, and run this cell again."
        )


def _pins() -> list[str]:
    installed = {name: installed_version(name) for name in NEVER_MOVED}
    return [f"{name}=={version}" for name, version in installed.items() if version]


def _bounds(root: Path, names: list[str]) -> list[str]:
    """Of the packages to install, the newest versions that were tested."""
    tested = re.findall(r"(?m)^([\w-]+)==(\S+)", (root / "constraints.txt").read_text())
    return [f"{one}<={version}" for one, version in tested if one in names]


def _pip(*arguments: str) -> None:
    """Runs `pip install`; raises SetupError with pip's own reason if it fails."""
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *quiet, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        reason = errors[0] if errors else lines[-1] if lines else "no reason given"
        raise SetupError(
            f"pip could not install what the lab lacks ({reason}): check the network and run this "
            "cell again."
        )


def installed_version(name: str) -> str | None:
    """The version of a package that this Python has."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
