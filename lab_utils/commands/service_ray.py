"""`lab service ray`: the model behind Ray Serve, with replicas and dynamic batching."""

import queue
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from lab_utils.commands.options import Model
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
    model: Model = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch URLs inside private networks.")
    ] = False,
    allow_open_ports: Annotated[
        bool,
        typer.Option(
            "--allow-open-ports",
            help="Let Ray's replicas listen on all addresses, behind a token.",
        ),
    ] = False,
) -> None:
    """Serve the model with Ray Serve: pages that come at the same time are read in one batch.

    Listens on 127.0.0.1; each replica of Ray Serve also opens a port on all addresses, for which
    Ray has no option. SIGHUP loads the model file again, without losing a request.

    Example: lab service ray --replicas 2 --max-batch 8
    """
    from lab_utils.model import model_file
    from lab_utils.service.ray_service import RaySettings, serving

    file = str(model_file(model))
    settings = RaySettings(
        file, replicas, max_batch, max_wait_ms, queue_size, threads, allow_private
    )
    reloads: queue.SimpleQueue[None] = queue.SimpleQueue()
    print("Ray starts (10 s, more on a busy machine) ...", flush=True)
    with serving(settings, port, allow_open_ports) as service:
        signal.signal(signal.SIGHUP, lambda *_: reloads.put(None))
        print(f"The model service: {service.url}")
        print("Ctrl-C ends it.", flush=True)
        while True:
            reloads.get()
            print(_reload(service), flush=True)


def _reload(service: "RayService") -> str:
    """Loads the model file again, and says what came of it."""
    try:
        service.update()
    except RecognizerError as error:
        return f"The model stays as it is: {error}"
    return "The model file was loaded again."
