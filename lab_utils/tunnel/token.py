"""Where ngrok's token comes from: never from the command line, which all users of a machine see."""

import os
import sys
from contextlib import suppress

from lab_utils.setup.project import on_colab
from lab_utils.tunnel.errors import OTHER_WAYS, TunnelError

VARIABLE = "NGROK_AUTHTOKEN"
TOKEN_PAGE = "https://dashboard.ngrok.com/get-started/your-authtoken"


def find_token() -> str:
    """The token in NGROK_AUTHTOKEN, in Colab's secrets under that name, or typed unseen.

    Only a terminal asks for it. Raises TunnelError if there is none.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if not token and on_colab():
        from google.colab import userdata

        with suppress(Exception):  # no such secret, or the notebook may not read it
            token = (userdata.get(VARIABLE) or "").strip()
    if not token and sys.stdin and sys.stdin.isatty():
        from getpass import getpass

        with suppress(EOFError):
            token = getpass(f"ngrok's token ({TOKEN_PAGE}), not shown: ").strip()
    if not token:
        raise TunnelError(
            f"ngrok needs a token: put the one from {TOKEN_PAGE} into {VARIABLE}; {OTHER_WAYS}"
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise TunnelError(f"{VARIABLE} does not hold a token; copy yours from {TOKEN_PAGE}.")
    return token
