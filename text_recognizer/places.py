"""Where the project lies, and where it may write: all scratch is below `.lab`, none at home."""

import logging
import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1]


def project_folder() -> Path:
    """The checkout; where the package was installed without one, the current folder."""
    return _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()


def lab_folder() -> Path:
    """The folder of everything that the lab makes: `LAB_HOME`, else `.lab` in the project."""
    return Path(os.environ.get("LAB_HOME") or project_folder() / ".lab")


def matplotlib_folder() -> Path:
    """Where Matplotlib's settings and list of fonts belong; absolute."""
    return lab_folder().absolute() / "cache" / "matplotlib"


def keep_home_clean() -> None:
    """Lets Matplotlib, which torchmetrics imports, keep its list of fonts below `.lab`, and lets
    ONNX Runtime neither report to its makers nor keep a file for that at home.

    Where `.lab` can't be written, Matplotlib does without, and the lab itself says so.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("MPLCONFIGDIR", str(matplotlib_folder()))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


PROJECT = project_folder()
SAMPLE_PAGES = PROJECT / "data" / "pages"
