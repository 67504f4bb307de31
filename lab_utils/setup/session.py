"""Prepares a running notebook: the project's folder, its imports and its commands.

Running it twice is fine. It prints the same on every machine, because stored notebooks are compared
with that.
"""

import os
import sys
import sysconfig
import warnings
from pathlib import Path

from lab_utils.net import keep_local_direct
from lab_utils.setup import packages
from lab_utils.setup.project import SetupError, on_colab
from text_recognizer.model_file import wrong_weights
from text_recognizer.places import keep_home_clean, project_folder

OLDEST_PYTHON = (3, 11)


def prepare() -> None:
    """Gets the running notebook ready and prints that it is.

    Changes to the project's folder, puts this at the front of `sys.path` and the `lab` command's
    folder at the front of PATH. On Colab it also installs what is missing; elsewhere it installs
    nothing. Raises SetupError, with the command that helps, if something is missing.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"The lab needs Python {_dotted(OLDEST_PYTHON)} or newer, and this notebook runs on "
            f"{_dotted(sys.version_info[:2])}: choose a newer kernel."
        )
    root = project_folder()
    os.chdir(root)
    sys.path[:] = dict.fromkeys([str(root), *sys.path])
    _lead_path_with(sysconfig.get_path("scripts"))
    keep_home_clean()
    # Gradio's `launch` asks 127.0.0.1 whether the app is there; a proxy can't reach it.
    keep_local_direct()
    # tqdm warns at import that it can't draw a widget; it draws its bar as text, which is right.
    warnings.filterwarnings("ignore", message="IProgress not found")
    if on_colab():
        packages.install(root)
    else:
        packages.require(root)
    _require_weights(root)
    print("The lab is ready.")


def _lead_path_with(folder: str) -> None:
    """So that `!lab read ...` works in a kernel whose environment is not activated."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    rest = [entry for entry in entries if entry != folder]
    os.environ["PATH"] = os.pathsep.join([folder, *rest])


def _require_weights(root: Path) -> None:
    wrong = wrong_weights()
    if wrong:
        raise SetupError(
            f"The recognizer's weights are missing or damaged ({', '.join(wrong)}): "
            f"run `git -C '{root}' checkout -- data/weights`."
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
