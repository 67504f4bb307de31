"""`lab service ray`: the model behind Ray Serve, with replicas and dynamic batching."""

import queue
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from text_recognizer.errors import RecognizerError
from text_recognizer.limits import MAX_BATCH

if TYPE_CHECKING:
    from lab_utils.service.ray_service import RayService


def ray(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9100,
    replicas: Annotated[int, typer.Option(min=1, help="Processes with a copy of the model.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Cores that each of them uses.")] = 1,
    max_batch: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="Pages read at once; 1 for no batching.")
    ] = MAX_BATCH,
    max_wait_ms: Annotated[
        float,
        typer.Option(min=0, max=10_000, help="How long an idle replica waits for a second page."),
    ] = 10.0,
    queue_size: Annotated[
        int, typer.Option(min=1, help="Pages that wait; more are answered with 503.")
    ] = 32,
    model: Annotated[
        Path | None, typer.Option(help="TorchScript file; else the packaged weights.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch URLs inside private networks.")
    ] = False,
    allow_open_ports: Annotated[
        bool,
        typer.Option(
            "--allow-open-ports", help="Also start where Ray can't be kept off the network."
        ),
    ] = False,
) -> None:
    """Serve the model with Ray Serve: pages that come at the same time are read in one batch.

    Listens on 127.0.0.1. SIGHUP makes it take the model file anew, without losing a request.

    Example: lab service ray --replicas 2 --max-batch 8
    """
    from lab_utils.model import model_file
    from lab_utils.service.ray_service import RayService, check_installed
    from lab_utils.service.ray_settings import Settings

    check_installed()
    file = str(model_file(model))
    settings = Settings(file, replicas, max_batch, max_wait_ms, queue_size, threads)
    service = RayService(settings, port, allow_open_ports, allow_private)
    happenings: queue.SimpleQueue[str] = queue.SimpleQueue()
    handlers = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, lambda *_: happenings.put("reload")),
    }
    print("Ray starts (10 s, more on a busy machine) ...", flush=True)
    try:
        with service:
            print(f"The model service: {service.url}")
            if not service.is_private:
                print("Each replica also listens on a port of all addresses, which asks for a key.")
            print("Ctrl-C ends it.", flush=True)
            service.on_end(lambda: happenings.put("end"))
            while happenings.get() == "reload":
                print(_reload(service), flush=True)
            raise service.gone()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _reload(service: "RayService") -> str:
    """Takes the model file anew, and says what came of it."""
    try:
        service.update()
    except RecognizerError as error:
        return f"The model stays as it is: {error}"
    return "The model file was taken anew."
