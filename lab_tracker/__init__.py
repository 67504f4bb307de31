"""Experiment tracking without an account: the real `wandb` SDK, and a server of our own for it.

`connect()` starts the server in this process and points the SDK at it; with `WANDB_API_KEY` set it
leaves everything as it is, and the same code goes to wandb.ai."""

from lab_tracker.connection import Connection, connect
from lab_tracker.errors import TrackingError

__all__ = ["Connection", "TrackingError", "connect"]
