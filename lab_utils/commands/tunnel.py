"""`lab tunnel`: a public link to the app, for whoever has its password."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_utils.tunnel import Tunnel


def tunnel(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The app's port.")] = 7860,
    auth: Annotated[
        str,
        typer.Option(
            metavar="USER:PASS|none",
            envvar="LAB_TUNNEL_AUTH",
            help="What the link asks for; else a made password; none to ask for nothing.",
        ),
    ] = "made",
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
        int, typer.Option(min=1, max=65535, help="With --ssh: the port there.")
    ] = 8080,
    ssh_config: Annotated[
        Path | None, typer.Option(help="With --ssh: settings instead of ~/.ssh/config.")
    ] = None,
    any_program: Annotated[
        bool, typer.Option("--any-program", help="Also link a port that is not the lab's app.")
    ] = False,
) -> None:
    """Make a public link to an app that runs on this machine.

    Through ngrok, with HTTPS and the token in NGROK_AUTHTOKEN (asked for in a terminal), or with
    --ssh through a host of one's own, see lab_utils/tunnel/README.md. Shows the link, its password
    and a QR code; Ctrl-C ends it.

    Example: lab tunnel --port 7860 --domain example.ngrok.app

    Example: lab tunnel --ssh ada@example.org --remote-port 8080
    """
    from lab_utils.tunnel import open_ssh_tunnel, open_tunnel

    login = None if auth.lower() == "none" else auth
    # So that the default, to end at once, does not leave a tunnel that is just being opened.
    before = signal.signal(signal.SIGTERM, _end)
    try:
        if ssh is None:
            opened = open_tunnel(port, login, domain, any_program=any_program, tell=tell)
        else:
            opened = open_ssh_tunnel(
                port,
                ssh,
                login,
                domain,
                remote_port=remote_port,
                ssh_config=ssh_config,
                any_program=any_program,
                tell=tell,
            )
        with opened:
            show_link(opened.url, opened, "it")
            if ssh is not None and not opened.answers():
                tell(_no_answer(domain, remote_port))
            opened.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def show_link(url: str, link: "Tunnel | None", ended: str) -> None:
    """Tells a link and who gets in, in a terminal with a QR code; no tunnel: only the address."""
    if link is not None and sys.stdout.isatty():
        print(link.qr_text())
    print(f"The link: {url} (Ctrl-C ends {ended})")
    if link is not None and link.user:
        print(f"It asks for the name {link.user} and the password {link.password}")
    elif link is not None:
        print("It asks for no password: whoever knows the link can use the app.")
    if link is not None and url.startswith("http://"):
        print("It is not encrypted: whoever is on the way can read what passes, the password, too.")
    sys.stdout.flush()


def tell(line: str) -> None:
    """Tells at once how things stand, beside what the command is for."""
    print(line, file=sys.stderr, flush=True)


def _no_answer(domain: str | None, port: int) -> str:
    if domain:
        return (
            f"The link does not answer yet: the host's proxy has to pass https://{domain} on to "
            f"its 127.0.0.1:{port}."
        )
    return (
        "The link does not answer from here: the host's sshd needs `GatewayPorts clientspecified`, "
        f"and its firewall has to let port {port} in."
    )


def _end(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)
