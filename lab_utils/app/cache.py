"""Where Gradio keeps what is uploaded: each process has a folder, which goes when it ends.

Gradio's own default is one folder for all users and programs, and each program deletes the files in
it that have the same content as its own.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "lab-app-"


def use_cache_folder() -> None:
    """Points Gradio at a temporary folder, unless the user has named one.

    A folder that comes from the environment of another process of the lab belongs to that process.
    """
    given = Path(os.environ.get(_VARIABLE, _PREFIX)).name
    prefix = f"{_PREFIX}{os.getpid()}-"
    if given.startswith(_PREFIX) and not given.startswith(prefix):
        _sweep()
        folder = tempfile.mkdtemp(prefix=prefix)
        os.environ[_VARIABLE] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def cache_folder() -> Path:
    """The folder that Gradio uses."""
    return Path(os.environ[_VARIABLE])


def _sweep() -> None:
    """Deletes the folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere, this call ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
