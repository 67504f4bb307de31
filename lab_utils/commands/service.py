"""`lab service`: the model as a separate service, which the app and others call."""

import os
import threading
from typing import Annotated

import typer

from lab_utils.commands.options import AllowPrivate, Model, Workers, group
from text_recognizer.limits import MAX_BATCH

app = group("Serve the model for others to call.")

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


@app.command(name="lambda")
def serve_lambda(
    workers: Workers = 1,
    port: Port = 9000,
    model: Model = None,
    memory: Annotated[
        int,
        typer.Option(
            min=128, max=10240, help="MB of memory of each function, with a thread for each 1769."
        ),
    ] = 1769,
    timeout: Annotated[
        int, typer.Option(min=1, max=900, help="Seconds of a function for one request.")
    ] = 30,
    queue_size: Annotated[
        int, typer.Option(min=0, help="Requests that wait; more are refused with 503.")
    ] = 16,
    allow_private: AllowPrivate = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the functions' logs on stderr.")
    ] = False,
) -> None:
    """Run the model as AWS Lambda would, in AWS's own emulator on this machine.

    Requests are those of a Function URL, one at a time for each worker.

    Example: lab service lambda --workers 2 --port 9000
    """
    from lab_utils.model import model_file
    from lab_utils.service.local import lambda_service, log_file

    if allow_private:
        os.environ["LAB_ALLOW_PRIVATE"] = "1"
    options = {"memory": memory, "timeout": timeout, "queue_size": queue_size, "verbose": verbose}
    with lambda_service(model_file(model), workers, port, **options) as gateway:
        print(f"The service answers at {gateway.url} (lab app --model-url {gateway.url})")
        if not verbose:
            print(f"Its log: {log_file(port, 1 if workers == 1 else '*')}")
        print("Ctrl-C ends it.", flush=True)
        threading.Event().wait()


@app.command()
def ray(
    port: Port = 9100,
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
    allow_private: AllowPrivate = False,
    allow_open_ports: Annotated[
        bool,
        typer.Option("--allow-open-ports", help="Let replicas listen on all addresses."),
    ] = False,
) -> None:
    """Serve the model with Ray Serve: pages that come at the same time are read in one batch.

    Listens on 127.0.0.1; each replica of Ray Serve also opens a port on all addresses, which asks
    for a token. Ray has no option to prevent that, so the command starts only with
    --allow-open-ports, or where there is no network.

    Example: lab service ray --replicas 2 --max-batch 8 --allow-open-ports
    """
    from lab_utils.model import model_file
    from lab_utils.net import free_port
    from lab_utils.service.errors import ServiceError
    from lab_utils.service.ray_environment import prepare_ray

    file = str(model_file(model))
    port = free_port(port, ServiceError)
    prepare_ray(allow_open_ports)
    from lab_utils.service.ray_service import RaySettings, serving

    settings = RaySettings(
        file, replicas, max_batch, max_wait_ms, queue_size, threads, allow_private
    )
    print("Ray starts (10 s, more on a busy machine) ...", flush=True)
    with serving(settings, port) as url:
        print(f"The model service: {url}")
        print("Ctrl-C ends it.", flush=True)
        threading.Event().wait()
