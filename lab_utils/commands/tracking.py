"""`lab wandb-server`: the tracker alone, for looking at runs or for several programs at once."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def wandb_server(
    folder: Annotated[
        Path | None, typer.Option(help="Where its data lies, or will lie; else .lab/wandb.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; another one opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8080,
) -> None:
    """Serve the lab's own tracker, which the wandb SDK takes for W&B.

    Shows the page's address, and the two variables that point other programs at it. Notebooks need
    no such server: they start their own over the same data.

    Example: lab wandb-server --port 8080
    """
    from lab_tracker.server import TrackingServer
    from text_recognizer.places import lab_folder

    server = TrackingServer(folder or lab_folder() / "wandb", host, port)
    print(f"The tracker's page: {server.url}")
    print("To track a program's runs here, set before it starts:")
    print(f"  export WANDB_BASE_URL={shlex.quote(server.url)}")
    print(f"  export WANDB_API_KEY={server.key}")
    if not server.pages_are_open:
        print("The page asks for a name and a password: any name, and this key.")
    print("Ctrl-C ends it; the data stays.", flush=True)
    server.run()
