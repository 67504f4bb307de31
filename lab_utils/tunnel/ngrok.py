"""The way through ngrok: pyngrok starts its agent, which holds a connection to ngrok's servers and
asks them for an address with HTTPS.

The token is in no command line, and in a file only while the agent starts: the agent reads it from
a folder that only this user can enter, which is then deleted.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab_utils.net import LOOPBACK
from lab_utils.tunnel.errors import OTHER_WAYS, TunnelDownError, TunnelError
from lab_utils.tunnel.program import ProgramWay
from lab_utils.tunnel.token import VARIABLE
from text_recognizer.files import replacing
from text_recognizer.places import lab_folder

AGENT_VARIABLE = "PYNGROK_NGROK_PATH"
"""Environment variable, pyngrok's own, with the path of an agent that is installed already."""

START_SECONDS = 15
"""Time for the agent to get an address."""

_IMPORT_SECONDS = 15  # of its program, on a busy machine
_DOWNLOAD_SECONDS = 30
_LEFT_SECONDS = 600
_PROGRAM = Path(__file__).with_name("ngrok_agent.py")
_INSTALL = """
import sys
from pyngrok import installer
installer.install_ngrok(sys.argv[1], timeout=float(sys.argv[2]))
"""

_CODE = re.compile(r"ERR_NGROK_(\d+)")
_TAKEN = {"108", "334"}
"""Another tunnel is open: https://ngrok.com/docs/errors has all codes."""


class Ngrok(ProgramWay):
    """An agent with one address; see `lab_utils.tunnel.program.Way`.

    Args:
        token: of an ngrok account.
        domain: a name that is reserved for the account; None for one that ngrok chooses.
    """

    def __init__(self, token: str, domain: str | None = None) -> None:
        self._token, self._domain = token, domain

    def open(self, port: int) -> str:
        """Starts the agent; see `lab_utils.tunnel.program.Way`."""
        agent = agent_path()
        try:
            with _config_file(self._token) as config:
                url = self._start(agent, config, f"http://{LOOPBACK}:{port}")
            if not url.startswith("https://"):
                raise TunnelError(f"ngrok gave an address without HTTPS ({url}); try again.")
            return url
        except BaseException:
            self.close()
            raise

    def _start(self, agent: Path, config: Path, upstream: str) -> str:
        arguments = [agent, config, f"https://{self._domain or ''}", upstream, START_SECONDS]
        # -P: the modules beside the program would take the place of Python's own.
        command = [sys.executable, "-P", str(_PROGRAM), *map(str, arguments)]
        # From there pyngrok would put the token on the agent's command line.
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        logged, failed = "", {}
        for line in self._run(command, START_SECONDS + _IMPORT_SECONDS, "stdout", env=environment):
            said = json.loads(line)
            if "url" in said:
                return said["url"]
            logged = said.get("log", logged)
            failed = said
            if _CODE.search(logged):  # the agent would go on trying
                break
        raise self._error(agent, logged, failed)

    def _error(self, agent: Path, logged: str, failed: dict) -> TunnelError:
        """The error for what the agent logged, or for what pyngrok then reported."""
        said = logged or failed.get("error") or "no answer"
        said = " ".join(said.replace("\\r", " ").replace("\\n", " ").split())
        said = said.replace(self._token, "(the token)")
        code, said = _CODE.search(said), said[:300]
        if code:
            error = TunnelDownError if code[1] in _TAKEN else TunnelError
            return error(f"ngrok refused the tunnel: {said} (https://ngrok.com/docs/errors).")
        if failed.get("status"):
            return TunnelError(f"ngrok's agent {agent} refused the tunnel: {said}")
        what = "reach its servers" if logged else "start"
        return TunnelDownError(
            f"ngrok's agent {agent} did not {what} in {START_SECONDS} s ({said}); check the "
            f"network, delete the agent for a new one, or, {OTHER_WAYS}"
        )


def agent_path() -> Path:
    """The program that holds the connection; it is downloaded once, into the lab's own cache.

    Raises TunnelError if there is none that could be run.
    """
    named = os.environ.get(AGENT_VARIABLE)
    path = Path(named) if named else cached_agent()
    if not named and not path.exists():
        _install(path)
    if not path.is_file():
        raise TunnelError(f"There is no ngrok agent at {path}; correct {AGENT_VARIABLE}.")
    if not os.access(path, os.X_OK):
        raise TunnelError(f"The ngrok agent {path} is not executable; run `chmod +x '{path}'`.")
    return path


def cached_agent() -> Path:
    """Where the agent is once it has been downloaded."""
    from pyngrok.installer import get_ngrok_bin

    return lab_folder() / "cache" / "ngrok" / get_ngrok_bin()


def _install(path: Path) -> None:
    """Downloads the agent with pyngrok's installer.

    In a separate process, because the installer writes the archive to a known name in the folder
    for temporary files, which others may share: here that is a private one.
    """
    try:
        with replacing(path) as partial:
            subprocess.run(
                [sys.executable, "-c", _INSTALL, str(partial), str(_DOWNLOAD_SECONDS)],
                env=os.environ | {"TMPDIR": str(partial.parent)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
            )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TunnelDownError(
            f"ngrok's agent could not be downloaded ({last.rpartition('https://')[2]}); check the "
            f"network, name an agent in {AGENT_VARIABLE}, or, {OTHER_WAYS}"
        ) from None


@contextmanager
def _config_file(token: str) -> Iterator[Path]:
    """The agent's settings with the token, in a private folder that is deleted at the end."""
    from pyngrok import installer

    settings = {
        "authtoken": token,
        # What passes is somebody's handwriting: the agent keeps no copies of it.
        "inspect_db_size": -1,
        "remote_management": False,
        "update_check": False,
    }
    parent = lab_folder() / "tunnel"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("ngrok-*"):  # by a start that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="ngrok-") as folder:  # of mode 700
        path = Path(folder, "ngrok.yml")
        installer.install_default_config(str(path), {"agent": settings})
        yield path
