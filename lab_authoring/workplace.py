"""Where a student's notebook runs: a throw-away copy of the project, and an environment without the
instructor's secrets, settings and home folder."""

import os
import re
import shutil
import site
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from text_recognizer.places import PROJECT, lab_folder

COPIED = (
    "pyproject.toml",
    "constraints.txt",
    "data",
    "lab_tracker",
    "lab_utils",
    "text_recognizer",
)
"""All that a notebook may open; not the sources and solutions of notebooks."""
SPARED = ("models", "cache/matplotlib")
"""Below .lab: what a notebook would make again, in seconds, if it were not there."""
PASSED_ON = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|TERM|VIRTUAL_ENV|CONDA_PREFIX|LD_LIBRARY_PATH"
    r"|CUDA_\w+|NVIDIA_\w+|\w+_NUM_THREADS|SYSTEMROOT"
)
"""Variables that are passed on. Naming these, not the secrets, also keeps out unknown secrets."""


@dataclass(frozen=True)
class Workplace:
    """A folder that is deleted afterwards."""

    notebooks: Path
    """Where the process starts, as in JupyterLab; empty."""
    environment: dict[str, str]


@contextmanager
def workplace(project: Path) -> Iterator[Workplace]:
    """A copy of what notebooks use of a project, for one student's notebook."""
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for name in ("project/notebooks", "home", "tmp"):
            (root / name).mkdir(parents=True)
        for name in COPIED:
            _copy(project / name, root / "project" / name)
        for name in SPARED:
            _copy(lab_folder() / name, root / "project" / ".lab" / name)
        yield Workplace(root / "project" / "notebooks", _environment(root))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.is_file():
        shutil.copyfile(source, target)


def _environment(root: Path) -> dict[str, str]:
    home, lab = str(root / "home"), root / "project" / ".lab"
    # The copy comes first; what it lacks, and the program of the kernel, come from the lab itself.
    python_path = [str(root / "project"), str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)},
        "HOME": home,
        "USERPROFILE": home,
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(root / "tmp")),
        "PYTHONUSERBASE": site.getuserbase(),  # packages of `pip install --user`
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
        "LAB_HOME": str(lab),
        "IPYTHONDIR": str(root / "home" / "ipython"),
        "MPLBACKEND": "agg",  # draws, and opens no window
    }
