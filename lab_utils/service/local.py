"""The model service on this machine, for a command or a notebook."""

from pathlib import Path
from typing import Literal

from lab_utils.service.emulator import DEFAULT_MEMORY, DEFAULT_TIMEOUT, Emulator, check_emulator
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
    """A gateway in front of emulated functions.

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


def log_file(port: int, worker: int | Literal["*"]) -> Path:
    """Where a worker (from 1) of the service that was asked for at a port writes its log; for "*",
    the pattern of them all."""
    return lab_folder() / "service" / f"lambda-{port}-worker-{worker}.log"


def model_service(
    model: Path, workers: int = 1, handler: Handler | None = None
) -> tuple[Gateway, str]:
    """A gateway at a free port that answers, in front of emulated functions, or of the handler in
    this process where these don't start: without Linux, without a network on first use, or on a
    machine that is too busy. Also returns which it is. `close` ends it.

    Args:
        handler: answers in this process; None for one with the model.

    Raises ModelFileError for a bad model.
    """
    try:
        check_emulator()
        gateway = lambda_service(model, workers)
        gateway.open()
        return gateway, "It runs in Lambda's emulator."
    except (ServiceError, OSError) as error:
        from lab_utils.service.lambda_handler import LambdaHandler
        from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

        if handler is None:
            recognizer = ParagraphTextRecognizer(model)
            handler = LambdaHandler(recognizer, model, log=lambda line: None)
        here = Gateway([InProcessFunction(handler)] * workers)
        here.open()
        return here, f"It runs in this process, without Lambda's emulator. {error}"
