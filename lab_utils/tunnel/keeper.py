"""Programs that hold a tunnel open end with this process, however that ends.

On Linux the emulators' warden stands over them; its standard input closes with this process.
Elsewhere this process ends them itself, which a kill -9 prevents.
"""

import sys
from pathlib import Path

from lab_utils.service import warden


def kept(command: list[str]) -> list[str]:
    """The command, to be started in a session of its own with a pipe of ours as standard input."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", str(Path(warden.__file__)), *command]
