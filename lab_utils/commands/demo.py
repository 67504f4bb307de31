"""`lab demo`: the whole thing with one command, to be shown to people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_utils.commands.tunnel import show_link, tell
from lab_utils.demo import Settings, Way, run_demo

if TYPE_CHECKING:
    from lab_utils.demo import Running


def demo(
    tunnel: Annotated[
        Way | None,
        typer.Option(help="How the link is made; else ngrok where NGROK_AUTHTOKEN is set."),
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASS|none",
            envvar="LAB_TUNNEL_AUTH",
            help="What the link asks for; else a made password, and none without a tunnel.",
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(
            help="A domain reserved at ngrok; with --ssh, that of the host's HTTPS proxy."
        ),
    ] = None,
    ssh: Annotated[
        str | None,
        typer.Option(metavar="USER@HOST[:PORT]", help="Go through this host instead of ngrok."),
    ] = None,
    remote_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="With --ssh: the port there; else 8080.")
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(help="With --ssh: settings instead of ~/.ssh/config.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="TorchScript file; else LAB_MODEL's.")] = None,
    version: Annotated[
        str | None,
        typer.Option(help="ALIAS, v3 or NAME:ALIAS of a staged model; else production."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Functions that read at the same time.")
    ] = 1,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The app's; else 7860, or a free one."),
    ] = None,
    service_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The service's; else 9000, or a free one."),
    ] = None,
) -> None:
    """Show it to people: the model in a service, the app before it, and one link.

    Serves the staged model with the alias production where the tracker has one, else the packaged
    weights, in AWS's Lambda emulator (in this process where that can't be had); reads a page with
    it; starts the app; opens the tunnel; prints the link, and as a QR code in a terminal. Without
    a token or a host the link is for this machine. What dies is started again where that can help,
    else all ends with one line. Ctrl-C ends all of it.

    Example: lab demo

    Example: lab demo --tunnel ngrok --domain example.ngrok.app --auth ada:secret

    Example: lab demo --ssh ada@example.org --workers 2
    """
    login = "made" if auth is None else None if auth.lower() == "none" else auth
    settings = Settings(
        model=model,
        version=version,
        port=port,
        service_port=service_port,
        workers=workers,
        way=tunnel,
        auth=login,
        domain=domain,
        ssh=ssh,
        remote_port=remote_port,
        ssh_config=ssh_config,
    )
    run_demo(settings, _show, tell)


def _show(running: "Running") -> None:
    show_link(running.url, running.tunnel, "it all")
