"""Where Gradio keeps what is uploaded: a folder of this process alone, which goes when it ends.

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

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "lab-app-"


def use_cache_folder() -> None:
    """Points Gradio at a temporary folder, unless the user has named one.

    One that another process of the lab has made, and handed down with its environment, is left
    to that process.
    """
    given = Path(os.environ.get(_VARIABLE, _PREFIX)).name
    prefix = f"{_PREFIX}{os.getpid()}-"
    if given.startswith(_PREFIX) and not given.startswith(prefix):
        folder = tempfile.mkdtemp(prefix=prefix)
        os.environ[_VARIABLE] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("gradio.routes", "gradio.mcp"):
        if name in sys.modules:  # it has read the variable when it was imported
            sys.modules[name].DEFAULT_TEMP_DIR = os.environ[_VARIABLE]


def cache_folder() -> Path:
    """The folder that Gradio uses."""
    return Path(os.environ[_VARIABLE])


def cache_bytes() -> int:
    """Bytes of what lies in it."""
    total = 0
    for folder, _, files in os.walk(cache_folder()):
        for name in files:
            with suppress(OSError):  # deleted meanwhile
                total += os.stat(os.path.join(folder, name)).st_size
    return total
