"""The model service on this machine, for a command or a notebook."""

from contextlib import ExitStack
from pathlib import Path

from lab_utils.service.emulator import DEFAULT_MEMORY, DEFAULT_TIMEOUT, Emulator
from lab_utils.service.errors import ServiceError
from lab_utils.service.gateway import QUEUE_SIZE, Gateway, Handler, InProcessFunction
from text_recognizer.places import lab_folder


def lambda_service(
    model: Path,
    workers: int = 1,
    port: int = 0,
    *,
    memory: int = DEFAULT_MEMORY,
    timeout: int = DEFAULT_TIMEOUT,
    queue_size: int = QUEUE_SIZE,
    verbose: bool = False,
) -> Gateway:
    """A gateway in front of emulated functions, which have loaded the model inside a `with` block.

    Args:
        model, memory, timeout: see `Emulator`.
        workers: functions that read at the same time.
        port, queue_size: see `Gateway`.
        verbose: show on stderr what the functions write; else it goes into `log_file`.

    Raises ServiceError if the port can't be used.
    """
    logs = [None if verbose else log_file(port, number) for number in range(1, workers + 1)]
    for log in filter(None, logs):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
    return Gateway([Emulator(model, memory, timeout, log) for log in logs], port, queue_size)


def log_file(port: int, worker: int) -> Path:
    """Where a worker (from 1) of the service that was asked for at a port writes its log."""
    return lab_folder() / "service" / f"lambda-{port}-worker-{worker}.log"


class NotebookService:
    """Functions behind an address on this machine, so that the lesson works without Linux and
    without a network; `close` ends them.

    Args:
        handler: answers in this process if the emulator can't run.
        model: TorchScript file for the emulated functions.
        workers: requests that are served at a time.
    """

    def __init__(self, handler: Handler, model: Path, workers: int = 2):
        self._stack = ExitStack()
        try:
            gateway = self._stack.enter_context(lambda_service(model, workers))
            self.note = f"{workers} functions run in AWS's emulator."
        except ServiceError as error:
            here = Gateway([InProcessFunction(handler)] * workers)
            gateway = self._stack.enter_context(here)
            self.note = f"The handler runs in this process instead. {error}"
        gateway.start()
        self.url = gateway.url

    def close(self) -> None:
        """Returns when nothing of it is left."""
        self._stack.close()
