"""`lab tunnel`: a public link to the app, for people who have its password."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab_utils.tunnel import Tunnel

# The options of a link, which `lab demo` has as well.
Auth = Annotated[
    str,
    typer.Option(
        metavar="NAME:PASSWORD|none",
        envvar="LAB_TUNNEL_AUTH",
        help="The login; better set LAB_TUNNEL_AUTH=NAME:PASSWORD, which other users of this "
        "machine can't see. Default: a random password. none: an open link.",
    ),
]
Domain = Annotated[
    str | None,
    typer.Option(help="A domain reserved at ngrok; with --ssh, that of the host's HTTPS proxy."),
]
Ssh = Annotated[
    str | None,
    typer.Option(metavar="USER@HOST[:PORT]", help="Go through this host instead of ngrok."),
]
RemotePort = Annotated[int, typer.Option(min=1, max=65535, help="With --ssh: the port there.")]
SshConfig = Annotated[
    Path | None, typer.Option(help="With --ssh: settings instead of ~/.ssh/config.")
]


def tunnel(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The app's port.")] = 7860,
    auth: Auth = "made",
    domain: Domain = None,
    ssh: Ssh = None,
    remote_port: RemotePort = 8080,
    ssh_config: SshConfig = None,
    any_program: Annotated[
        bool, typer.Option("--any-program", help="Also link a port that is not the lab's app.")
    ] = False,
) -> None:
    """Make a public link to an app that runs on this machine.

    Through ngrok, with HTTPS and the token in NGROK_AUTHTOKEN (a terminal asks for it), or with
    --ssh through a host of your own, see lab_utils/tunnel/README.md. Set the login with
    LAB_TUNNEL_AUTH=NAME:PASSWORD, or get a random password. Shows the link, its login and a QR
    code; Ctrl-C ends it.

    Example: LAB_TUNNEL_AUTH=ada:secret lab tunnel --port 7860

    Example: lab tunnel --domain example.ngrok.app

    Example: lab tunnel --ssh ada@example.org --remote-port 8080
    """
    from lab_utils.tunnel import LinkSettings, open_link

    settings = LinkSettings(auth, domain, ssh, remote_port, ssh_config)
    with open_link(port, settings, any_program=any_program, say=say) as link:
        show_link(link.url, link, "it")
        if ssh is not None and not link.answers():
            say("The link does not answer yet; see lab_utils/tunnel/README.md for the host's part.")
        link.wait()


def show_link(url: str, link: "Tunnel | None", ended: str) -> None:
    """Prints a link and who gets in, in a terminal with a QR code; no tunnel: only the address."""
    if link is not None and sys.stdout.isatty():
        print(link.qr_text())
    print(f"The link: {url} (Ctrl-C ends {ended})")
    if link is not None and link.user:
        print(f"It asks for the name {link.user} and the password {link.password}")
    elif link is not None:
        print("It asks for no password: anyone who knows the link can use the app.")
    if link is not None and url.startswith("http://"):
        print("It is not encrypted: others on the way can read what passes, also the password.")
    sys.stdout.flush()


def say(line: str) -> None:
    """Prints at once what is going on, apart from the command's result."""
    print(line, file=sys.stderr, flush=True)
