"""The set-up that all notebooks share: the cell that finds or fetches the lab, the badge that opens
a notebook on Colab, and `prepare`, which the cell calls.

Importing it needs only the standard library: on Colab nothing else may be installed yet.
"""

import os
import sys
import sysconfig
import warnings

from lab_utils.net import keep_local_direct
from lab_utils.setup import packages
from lab_utils.setup.cell import badge, setup_cell
from lab_utils.setup.project import OLDEST_PYTHON, SetupError, on_colab
from text_recognizer.model_file import wrong_weights
from text_recognizer.places import keep_home_clean, project_folder

__all__ = ["badge", "prepare", "setup_cell"]


def prepare() -> None:
    """Gets the running notebook ready and prints that it is.

    Changes to the project's folder, puts this at the front of `sys.path` and the `lab` command's
    folder at the front of PATH. On Colab it also installs what is missing; elsewhere it installs
    nothing. Running it twice is fine. It prints the same on every machine, because stored notebooks
    are compared with that. Raises SetupError, with the command that helps, if something is missing.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            "The lab needs Python 3.11 or newer, and this notebook runs on "
            f"{sys.version_info.major}.{sys.version_info.minor}: choose a newer kernel."
        )
    root = project_folder()
    os.chdir(root)
    sys.path[:] = dict.fromkeys([str(root), *sys.path])
    # So that `!lab read ...` works in a kernel whose environment is not activated.
    scripts, paths = sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([scripts, *paths.split(os.pathsep)]))
    keep_home_clean()
    # Gradio's `launch` asks 127.0.0.1 whether the app is there; a proxy can't reach it.
    keep_local_direct()
    # tqdm warns at import that it can't draw a widget; it draws its bar as text, which is right.
    warnings.filterwarnings("ignore", message="IProgress not found")
    if on_colab():
        packages.install(root)
    else:
        packages.require(root)
    if wrong := wrong_weights():
        raise SetupError(
            f"The recognizer's weights are missing or damaged ({', '.join(wrong)}): "
            f"run `git -C '{root}' checkout -- data/weights`."
        )
    print("The lab is ready.")
