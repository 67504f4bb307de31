"""`lab service`: the model as a service of its own, which the app and others call."""

from typing import Annotated

import typer

from lab_utils.commands import service_ray
from lab_utils.commands.options import Model

app = typer.Typer(
    name="service",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Serve the model for others to call.",
)
app.command(name="ray")(service_ray.ray)


@app.command(name="lambda")
def serve_lambda(
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Functions that read at the same time.")
    ] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9000,
    model: Model = None,
    memory: Annotated[
        int, typer.Option(min=128, max=10240, help="MB of a function; a thread for each 1769.")
    ] = 1769,
    timeout: Annotated[
        int, typer.Option(min=1, max=900, help="Seconds of a function for one request.")
    ] = 30,
    queue_size: Annotated[
        int, typer.Option(min=0, help="Requests that wait; more are refused with 503.")
    ] = 16,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch URLs inside private networks.")
    ] = False,
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

    environment = {"LAB_ALLOW_PRIVATE": "1"} if allow_private else {}
    with lambda_service(
        model_file(model),
        workers,
        port,
        memory=memory,
        timeout=timeout,
        queue_size=queue_size,
        verbose=verbose,
        environment=environment,
    ) as gateway:
        print(f"The service answers at {gateway.url} (lab app --model-url {gateway.url})")
        if not verbose:
            print(f"Its log: {log_file(port, 1)}")
        print("Ctrl-C ends it.", flush=True)
        gateway.run()
