"""Experiment tracking without an account: the real `wandb` SDK, and a server of our own for it.

`connect()` starts the server in this process and points the SDK at it; with `WANDB_API_KEY` set it
leaves everything as it is, and the same code goes to wandb.ai."""

from lab_utils.tracking.connection import Connection, connect
from lab_utils.tracking.errors import TrackingError

__all__ = ["Connection", "TrackingError", "connect"]
