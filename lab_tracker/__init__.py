"""Experiment tracking without an account: a server that the real `wandb` SDK takes for W&B.

`connect()` starts the server in this process and points the SDK at it. With `WANDB_API_KEY` set, it
leaves everything as it is, and the same code goes to wandb.ai. The package needs nothing of the
lab; `python -m lab_tracker` serves its pages."""

from lab_tracker.connection import Connection, connect, disconnect
from lab_tracker.errors import TrackingError

__all__ = ["Connection", "TrackingError", "connect", "disconnect"]
