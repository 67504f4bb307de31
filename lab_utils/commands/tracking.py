"""`lab wandb-server`: the tracker in a terminal, for its pages or for several programs at once."""

from pathlib import Path
from typing import Annotated

import typer


def wandb_server(
    folder: Annotated[
        Path | None, typer.Option(help="Folder for its data. Default: .lab/wandb.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8080,
) -> None:
    """Serve the lab's own tracker, which the wandb SDK can use instead of W&B.

    Prints the page's address and the two variables that point other programs to it. Commands and
    notebooks don't need it: each starts its own server.

    Example: lab wandb-server --port 8080
    """
    from lab_tracker.server import serve
    from text_recognizer.places import lab_folder

    serve(folder or lab_folder() / "wandb", port)
