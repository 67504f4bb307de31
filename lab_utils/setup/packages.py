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
from text_recognizer.files import full_disk

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
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = None
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Package(line, name, found, found is not None)
    requirement = Requirement(line)
    if requirement.marker and not requirement.marker.evaluate():
        return None
    in_range = found is not None and requirement.specifier.contains(found, prereleases=True)
    return Package(line, name, found, in_range)


def unfit(lines: list[str]) -> list[Package]:
    """Those of some requirements that are not installed, or out of range."""
    return [one for one in map(look_up, lines) if one and not one.in_range]


def require(root: Path) -> None:
    """Raises SetupError if packages or the command `lab` are not there; installs nothing."""
    missing = [str(one) for one in unfit(project.requirements())]
    if not shutil.which("lab"):
        missing.append("the command `lab`")
    if missing:
        raise SetupError(
            f"This notebook's Python lacks {', '.join(missing)}: run `make lab` in {root}, or "
            "`pip install -e '.[lab]' -c constraints.txt` there with this Python, and restart the "
            "kernel."
        )


def install(root: Path) -> None:
    """Installs with pip what is missing, and the command `lab`.

    Raises SetupError if pip fails, and for packages that are too old: the session may have imported
    them.
    """
    missing, has_command = unfit(project.requirements()), shutil.which("lab") is not None
    if not missing and has_command:
        return
    if old := [gap for gap in missing if gap.installed]:
        lines = " ".join(f"'{gap.line}'" for gap in old)
        raise SetupError(
            f"This session has packages that are too old, {', '.join(map(str, old))}: choose a "
            "newer version under Runtime > Change runtime type, or run "
            f"`%pip install {lines}` in a separate cell, then Runtime > Restart session; and run "
            "this cell again."
        )
    print("Installing what the lab needs: once, about a minute.", flush=True)
    names = [gap.name for gap in missing]
    kept = [f"{one.name}=={one.installed}" for one in map(look_up, NEVER_MOVED) if one.installed]
    tested = re.findall(r"(?m)^([\w-]+)==(\S+)", (root / "constraints.txt").read_text())
    newest = [f"{name}<={version}" for name, version in tested if name in names]
    with tempfile.TemporaryDirectory() as folder:
        bounds = Path(folder, "bounds.txt")
        bounds.write_text("\n".join([*kept, *newest]), encoding="utf-8")
        lab = [] if has_command else ["--editable", str(root)]
        _pip("--constraint", str(bounds), *[gap.line for gap in missing], *lab)
    importlib.invalidate_caches()


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
        reasons = re.findall(r"(?m)^ERROR: (.*)", done.stderr) or ["no reason given"]
        cure = "free some space" if full_disk(done.stderr, sys.prefix) else "check the network"
        raise SetupError(
            f"pip could not install what the lab lacks ({reasons[0]}): {cure} and run this cell "
            "again."
        )
