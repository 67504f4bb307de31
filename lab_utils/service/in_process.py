"""The model service for a notebook: in Lambda's emulator where that runs, else in this process, so
the lesson works without Linux and without a network."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lab_utils.service.emulator import Reply
from lab_utils.service.errors import ServiceError
from lab_utils.service.gateway import Gateway
from lab_utils.service.local import lambda_service
from lab_utils.service.pool import EmulatorPool

Handler = Callable[[Any], dict[str, Any]]


class InProcessFunction:
    """Takes an `Emulator`'s place in a pool: the handler runs in this process.

    What JSON cannot carry fails here as it does there.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def start(self) -> None:
        """The handler has its model already."""

    def stop(self) -> None:
        """Nothing was started."""

    def revive(self) -> None:
        """Nothing has to be restarted."""

    def invoke(self, event: bytes, seconds: float | None = None) -> Reply:
        """Calls the handler; there is no limit of time."""
        return Reply(200, json.dumps(self._handler(json.loads(event))).encode())


class NotebookService:
    """Functions behind an address on this machine; `close` ends them.

    Args:
        handler: answers in this process where the emulator cannot run.
        model: TorchScript file for the emulated functions.
        workers: requests that are served at a time.
        queue_size: requests that may wait; more are refused with 503.
    """

    def __init__(self, handler: Handler, model: Path, workers: int = 2, queue_size: int = 16):
        self._stack = ExitStack()
        try:
            gateway = self._stack.enter_context(
                lambda_service(model, workers, queue_size=queue_size)
            )
            self.note = f"{workers} functions run in AWS's emulator."
        except ServiceError as error:
            functions = [InProcessFunction(handler) for _ in range(workers)]
            gateway = Gateway(self._stack.enter_context(EmulatorPool(functions, queue_size)))
            self.note = f"The handler runs in this process instead. {error}"
        gateway.start()
        self._stack.callback(gateway.stop)
        self.url = gateway.url

    def close(self) -> None:
        """Returns when nothing of it is left."""
        self._stack.close()
