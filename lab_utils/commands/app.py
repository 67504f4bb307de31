"""`lab app`: the web page over the recognizer, and its API."""

from pathlib import Path
from typing import Annotated

import typer

from lab_utils.commands.options import AppPort, Model

Auth = Annotated[
    str | None,
    typer.Option(
        metavar="NAME:PASSWORD",
        envvar="LAB_APP_AUTH",
        show_envvar=False,
        help="Ask for a login. Better in LAB_APP_AUTH: other users can see options.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="A name under which a proxy or tunnel reaches the app; * for any."
    ),
]


def app(
    port: AppPort = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; any other than 127.0.0.1 opens the app to the network."
        ),
    ] = "127.0.0.1",
    share: Annotated[
        bool, typer.Option("--share", help="Also make a public link, through Gradio's server.")
    ] = False,
    model_url: Annotated[
        str | None, typer.Option(help="Read with the model service at this address.")
    ] = None,
    model: Model = None,
    auth: Auth = None,
    queue_size: Annotated[
        int, typer.Option(min=0, help="Pages that may wait; further ones are refused.")
    ] = 16,
    feedback: Annotated[
        Path | None, typer.Option(help="Folder for users' corrections; else .lab/feedback.")
    ] = None,
    allow_host: AllowHost = None,
) -> None:
    """Serve a web page that reads handwriting, and its API.

    Pictures stay on this machine, unless a model service reads them. Shows the address; Ctrl-C
    ends it.

    Example: LAB_APP_AUTH=ada:secret lab app --port 7861 --queue-size 8
    """
    from lab_utils import predictors
    from lab_utils.app.server import make_frontend, serve
    from lab_utils.logins import parse_login
    from text_recognizer.errors import RecognizerError

    login = parse_login(auth) if auth else None
    if model is not None and model_url is not None:
        raise RecognizerError("Give --model or --model-url, not both.")
    remote = predictors.RemotePredictor(model_url) if model_url is not None else None
    serve(
        make_frontend(
            remote or predictors.LocalPredictor(model),
            flagging_dir=feedback,
            queue_size=queue_size,
        ),
        server_name=host,
        server_port=port,
        share=share,
        auth=login,
        hosts=allow_host or None,
    )
