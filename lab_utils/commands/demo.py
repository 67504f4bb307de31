"""`lab demo`: the model service, the app and a public link with one command."""

from typing import Annotated

import typer

from lab_utils.commands.options import Model
from lab_utils.commands.tunnel import Auth, Domain, RemotePort, Ssh, SshConfig, say, show_link


def demo(
    auth: Auth = "made",
    domain: Domain = None,
    ssh: Ssh = None,
    remote_port: RemotePort = 8080,
    ssh_config: SshConfig = None,
    model: Model = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Functions that read at the same time.")
    ] = 1,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The app's. Default: 7860, or a free one."),
    ] = None,
) -> None:
    """Start a demo: the model in a service, the app in front of it, and one link.

    Serves the model that `lab read` uses (`lab fetch production` brings a staged one), in AWS's
    Lambda emulator (in this process if there is no emulator). Reads a page with it, starts the app,
    opens the tunnel, and prints the link, in a terminal also as a QR code. Without a token in
    NGROK_AUTHTOKEN or a host, the link works only on this machine, and asks for a password only if
    LAB_TUNNEL_AUTH sets one. A part that dies is restarted if that can help; otherwise the demo
    ends with one line. Ctrl-C ends all of it.

    Example: lab demo

    Example: LAB_TUNNEL_AUTH=ada:secret lab demo --domain example.ngrok.app

    Example: lab demo --ssh ada@example.org --workers 2
    """
    from lab_utils.demo import run_demo
    from lab_utils.tunnel import LinkSettings

    run_demo(
        LinkSettings(auth, domain, ssh, remote_port, ssh_config),
        lambda url, link: show_link(url, link, "it all"),
        say,
        model=model,
        port=port,
        workers=workers,
    )
