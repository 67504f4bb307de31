"""`lab tunnel`: a public link to the app, for people who have its password; `lab demo`: the model
service, the app and such a link with one command."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lab_utils.commands.options import AppPort, Model, Workers, say

if TYPE_CHECKING:
    from lab_utils.tunnel import Tunnel

Auth = Annotated[
    str,
    typer.Option(
        metavar="NAME:PASSWORD|none",
        envvar="LAB_TUNNEL_AUTH",
        show_default=False,
        help="The login; better set LAB_TUNNEL_AUTH=NAME:PASSWORD, which other users of this "
        "machine can't see. Default: a random password. none: an open link.",
    ),
]
Domain = Annotated[str | None, typer.Option(help="A domain reserved at ngrok.")]


def tunnel(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The app's port.")] = 7860,
    auth: Auth = "made",
    domain: Domain = None,
    any_program: Annotated[
        bool, typer.Option("--any-program", help="Also link a port that is not the lab's app.")
    ] = False,
) -> None:
    """Make a public link to an app that runs on this machine.

    Through ngrok, with HTTPS and the token in NGROK_AUTHTOKEN (a terminal asks for it). Set the
    login with LAB_TUNNEL_AUTH=NAME:PASSWORD, or get a random password. Shows the link, its login
    and a QR code; Ctrl-C ends it.

    Example: LAB_TUNNEL_AUTH=ada:secret lab tunnel --port 7860

    Example: lab tunnel --domain example.ngrok.app
    """
    from lab_utils.tunnel import open_link

    with open_link(port, auth, domain, any_program=any_program, say=say) as link:
        show_link(link.url, link, "it")
        link.wait()


def demo(
    auth: Auth = "made",
    domain: Domain = None,
    model: Model = None,
    workers: Workers = 1,
    port: AppPort = None,
) -> None:
    """Start a demo: the model in a service, the app in front of it, and one link.

    Serves the model that `lab read` uses (`lab fetch production` brings a staged one), in AWS's
    Lambda emulator (in this process if there is no emulator). Reads a page with it, starts the app,
    opens the tunnel, and prints the link, in a terminal also as a QR code. Without a token in
    NGROK_AUTHTOKEN, the link works only on this machine, and asks for a password only if
    LAB_TUNNEL_AUTH sets one. A function or a tunnel that dies is started again; a tunnel for which
    that can't help ends the demo with one line. Ctrl-C ends all of it.

    Example: lab demo

    Example: LAB_TUNNEL_AUTH=ada:secret lab demo --domain example.ngrok.app

    Example: lab demo --workers 2
    """
    from lab_utils.demo import run_demo

    run_demo(
        lambda url, link: show_link(url, link, "it all"),
        say,
        auth=auth,
        domain=domain,
        model=model,
        port=port,
        workers=workers,
    )


def show_link(url: str, link: "Tunnel | None", ended: str) -> None:
    """Prints a link and who gets in, in a terminal with a QR code; no tunnel: only the address."""
    if link is not None and sys.stdout.isatty():
        from lab_utils.tunnel.qr import qr_text

        print(qr_text(url))
    print(f"The link: {url} (Ctrl-C ends {ended})")
    if link is not None and link.user:
        print(f"It asks for the name {link.user} and the password {link.password}")
    elif link is not None:
        print("It asks for no password: anyone who knows the link can use the app.")
    sys.stdout.flush()
