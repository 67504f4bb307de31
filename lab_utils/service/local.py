"""The model service on this machine: an address, a queue, and emulated functions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab_utils.service.emulator import DEFAULT_MEMORY, DEFAULT_TIMEOUT, Emulator
from lab_utils.service.gateway import Gateway
from lab_utils.service.pool import EmulatorPool
from text_recognizer.places import lab_folder


@contextmanager
def lambda_service(
    model: Path,
    workers: int = 1,
    port: int = 0,
    *,
    memory: int = DEFAULT_MEMORY,
    timeout: int = DEFAULT_TIMEOUT,
    queue_size: int = 16,
    verbose: bool = False,
    environment: dict[str, str] | None = None,
) -> Iterator[Gateway]:
    """A gateway before emulated functions that have loaded the model; `start` or `run` it.

    Args:
        model: TorchScript file.
        workers: functions that read at the same time.
        port: 0 takes a free one.
        memory: MB of each function; a thread for each 1769, see `lambda_handler.set_threads`.
        timeout: s that a function has for a request.
        queue_size: requests that may wait; more are refused with 503.
        verbose: show on stderr what the functions write; else it goes into `log_file`.
        environment: further variables for the functions.

    Raises ServiceError if it can't be started.
    """
    pool = EmulatorPool([], queue_size)
    # The port first: a taken one is noticed at once, not after the models are loaded.
    with Gateway(pool, port) as gateway:
        for number in range(1, workers + 1):
            log = None if verbose else log_file(port, number)
            if log is not None:
                log.unlink(missing_ok=True)
            pool.emulators.append(Emulator(model, memory, timeout, log, environment))
        with pool:
            yield gateway
            gateway.stop()


def log_file(port: int, worker: int) -> Path:
    """Where a worker (from 1) of the service that was asked for at a port writes its log."""
    return lab_folder() / "service" / f"lambda-{port}-worker-{worker}.log"
