"""Where Gradio keeps what is uploaded: each process has a folder, which goes when it ends.

Gradio's own default is one folder for all users and programs, and each program deletes the files in
it that have the same content as its own.
"""

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from lab_utils.app.limits import LEAST_UPLOAD_BYTES

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "lab-app-"


def use_cache_folder() -> None:
    """Points Gradio at a temporary folder, unless the user has named one.

    A folder that comes from the environment of another process of the lab belongs to that process.
    """
    given = Path(os.environ.get(_VARIABLE, _PREFIX)).name
    prefix = f"{_PREFIX}{os.getpid()}-"
    if given.startswith(_PREFIX) and not given.startswith(prefix):
        _delete_abandoned()
        os.environ[_VARIABLE] = folder = tempfile.mkdtemp(prefix=prefix)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def cache_folder() -> Path:
    """The folder that Gradio uses."""
    return Path(os.environ[_VARIABLE])


def cache_bytes() -> int:
    """Bytes that are kept there; a small file counts as LEAST_UPLOAD_BYTES."""
    kept = 0
    for folder, _, names in os.walk(cache_folder()):
        for name in names:
            with suppress(FileNotFoundError):  # Gradio deletes old ones
                kept += max(LEAST_UPLOAD_BYTES, os.stat(Path(folder, name)).st_size)
    return kept


def _delete_abandoned() -> None:
    """Deletes the folders of processes that are gone, for example after kill -9."""
    if sys.platform == "linux":
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
            process = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if process.isdigit() and not Path("/proc", process).exists():
                shutil.rmtree(folder, ignore_errors=True)  # another user's stays
