"""`connect()`: the one call after which `wandb` has a server, with an account or without."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_tracker import environment
from lab_tracker.environment import ENTITY

WANDB_URL = "https://wandb.ai"

# The servers of this process, by folder. Other processes over the same folder have their own.
_servers: dict[Path, Any] = {}


@dataclass(frozen=True)
class Connection:
    """Where `wandb` sends its data; `url` is also the page to look at.

    `folder` is the tracker's, and None at wandb.ai.
    """

    url: str
    folder: Path | None = None

    def project_url(self, project: str) -> str:
        """The page of a project. At wandb.ai, the page that leads there."""
        return f"{self.url}/{ENTITY}/{project}" if self.folder else f"{self.url}/home"


def connect(folder: Path | None = None) -> Connection:
    """Gives `wandb` a server: wandb.ai if `WANDB_API_KEY` is set, else a tracker in this process.

    The tracker keeps everything below `folder` (default: that of an earlier call, also by a parent
    process, else `wandb` below `LAB_HOME` or `.lab`). It runs in a thread of this process, on
    127.0.0.1 and a free port. Several notebooks may use one folder at once. Call it before
    `wandb.init`; calling it again gives the same tracker. Raises TrackingError if the folder can't
    be used.
    """
    if environment.has_real_key():
        # Takes back what an earlier connect() set before there was a key; else changes nothing.
        _change_environment(None)
        return Connection(os.environ.get("WANDB_BASE_URL", WANDB_URL).rstrip("/"))
    from lab_tracker.server import TrackingServer

    folder = Path(folder or environment.tracker_folder()).absolute()
    if folder not in _servers:
        server = TrackingServer(folder)
        server.start()
        _servers[folder] = server
    _change_environment(_servers[folder])
    return Connection(_servers[folder].url, folder)


def disconnect() -> None:
    """Stops every tracker of this process and takes the settings back; the data stays."""
    _change_environment(None)
    while _servers:
        _servers.popitem()[1].stop()


def _change_environment(server: Any) -> None:
    """Points the SDK at a server, or back at what it was; an SDK that has started must forget."""
    before = os.environ.get("WANDB_BASE_URL")
    environment.restore()
    if server:
        environment.point_to_tracker(server.url, server.key, server.folder)
    if os.environ.get("WANDB_BASE_URL") != before and "wandb" in sys.modules:
        sys.modules["wandb"].teardown()
