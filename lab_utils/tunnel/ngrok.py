"""The way through ngrok: pyngrok starts its agent, which holds a connection to ngrok's servers and
asks them for an address with HTTPS.

The token is in no file and in no command line, which all users of a machine see.
"""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from lab_utils.net import LOOPBACK
from lab_utils.process import end_kept, start_kept
from lab_utils.setup.project import on_colab
from lab_utils.tunnel.way import TunnelDownError, TunnelError
from text_recognizer.files import full_disk, replacing
from text_recognizer.places import lab_folder

VARIABLE = "NGROK_AUTHTOKEN"
TOKEN_PAGE = "https://dashboard.ngrok.com/get-started/your-authtoken"
AGENT_VARIABLE = "PYNGROK_NGROK_PATH"
"""Environment variable, pyngrok's own, with the path of an agent that is installed already."""

OTHER_WAYS = "without ngrok, `lab app --share` makes a link through Gradio's server."

START_SECONDS = 15
"""Time for the agent to get an address."""

_IMPORT_SECONDS = 15  # of its program, on a busy machine
_DOWNLOAD_SECONDS = 30
_CONFIG = Path(__file__).with_name("ngrok.yml")
_PROGRAM = Path(__file__).with_name("ngrok_agent.py")
_INSTALL = "from pyngrok import installer; installer.install_ngrok({!r}, timeout={})"

_CODE = re.compile(r"ERR_NGROK_(\d+)")
_TAKEN = {"108", "334"}
"""Another tunnel is open: https://ngrok.com/docs/errors has all codes."""


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
    if not (token and token.isascii() and token.isprintable() and " " not in token):
        raise TunnelError(
            f"ngrok needs a token: put the one from {TOKEN_PAGE} into {VARIABLE}; {OTHER_WAYS}"
        )
    return token


class Ngrok:
    """An agent with one address, which ends with this process; see `lab_utils.tunnel.way.Way`.

    Args:
        token: of an ngrok account.
        domain: a name that is reserved for the account; None for one that ngrok chooses.
    """

    def __init__(self, token: str, domain: str | None = None) -> None:
        self._token, self._domain = token, domain
        self._process: subprocess.Popen | None = None

    def open(self, port: int) -> str:
        """Starts the agent; see `lab_utils.tunnel.way.Way`."""
        agent = agent_path()
        address, upstream = f"https://{self._domain or ''}", f"http://{LOOPBACK}:{port}"
        arguments = [agent, _CONFIG, address, upstream, START_SECONDS]
        # -P: the modules beside the program would take the place of Python's own.
        self._process = process = start_kept(
            [sys.executable, "-P", str(_PROGRAM), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {VARIABLE: self._token},
        )
        late = threading.Timer(START_SECONDS + _IMPORT_SECONDS, end_kept, [process])
        late.start()
        try:
            answer = json.loads(process.stdout.readline() or "{}")
        finally:
            late.cancel()
        if "url" not in answer:
            raise self._error(agent, answer.get("error", "no answer"))
        return answer["url"]

    def is_running(self) -> bool:
        """Whether the agent runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Ends the agent; returns when it is gone."""
        process, self._process = self._process, None
        end_kept(process)

    def _error(self, agent: Path, said: str) -> TunnelError:
        """The error for what pyngrok reported, which may quote the agent."""
        said = " ".join(said.replace("\\r", " ").replace("\\n", " ").split())
        said, code = said.replace(self._token, "(the token)")[:300], _CODE.search(said)
        if code:
            error = TunnelDownError if code[1] in _TAKEN else TunnelError
            return error(f"ngrok refused the tunnel: {said} (https://ngrok.com/docs/errors).")
        return TunnelDownError(
            f"ngrok's agent {agent} made no link in {START_SECONDS} s ({said}); check the network, "
            f"delete the agent for a new one, or, {OTHER_WAYS}"
        )


def agent_path() -> Path:
    """The program that holds the connection; it is downloaded once, into the lab's own cache.

    Raises TunnelError if there is none that could be run.
    """
    from pyngrok.installer import get_ngrok_bin

    named = os.environ.get(AGENT_VARIABLE)
    path = Path(named) if named else lab_folder() / "cache" / "ngrok" / get_ngrok_bin()
    if not named and not path.exists():
        _install(path)
    if not os.access(path, os.X_OK):
        raise TunnelError(f"There is no program at {path}; correct {AGENT_VARIABLE}, or `chmod`.")
    return path


def _install(path: Path) -> None:
    """Downloads the agent with pyngrok's installer.

    In a separate process, because the installer writes the archive to a known name in the folder
    for temporary files, which others may share: here that is a private one.
    """
    try:
        with replacing(path) as partial:
            subprocess.run(
                [sys.executable, "-c", _INSTALL.format(str(partial), _DOWNLOAD_SECONDS)],
                env=os.environ | {"TMPDIR": str(partial.parent)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
            )
    except subprocess.CalledProcessError as error:
        if full := full_disk(error.stderr, path.parent):
            raise full from None
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TunnelDownError(
            f"ngrok's agent could not be downloaded ({last.rpartition('https://')[2]}); check the "
            f"network, name an agent in {AGENT_VARIABLE}, or, {OTHER_WAYS}"
        ) from None
