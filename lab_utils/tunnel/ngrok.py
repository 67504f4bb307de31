"""The way through ngrok: pyngrok starts its agent, which holds a connection to ngrok's servers, and
asks it for an address with HTTPS.

The token is in no command line and in no file while the agent runs: it reads it at its start from
a file that only this user can read, in a folder that is then deleted.
"""

import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.process import watched
from lab_utils.tunnel.errors import OTHER_WAYS, TunnelDownError, TunnelError
from lab_utils.tunnel.ngrok_binary import agent_path
from lab_utils.tunnel.token import TOKEN_PAGE
from text_recognizer.places import lab_folder

if TYPE_CHECKING:
    from pyngrok.conf import PyngrokConfig
    from pyngrok.log import NgrokLog

START_SECONDS = 15
"""Time for the agent to get an address."""

UNREACHABLE_SECONDS = 5.0
"""Time after which an agent that did not reach ngrok's servers is not left to try again."""

_REQUEST_SECONDS = 15.0
_END_SECONDS = 5.0
_LEFT_SECONDS = 600
_NAME = "lab"

# https://ngrok.com/docs/errors
_CODE = re.compile(r"ERR_NGROK_(\d+)")
_NO_TOKEN = {105, 106, 4018}
_REVOKED = {107}
_TOO_MANY = {108, 334}
_TOO_OLD = {120, 121}
_NOT_YOURS = range(307, 332)  # every code of a domain that cannot be bound


class Ngrok:
    """An agent with one address; see `lab_utils.tunnel.tunnel.Way`.

    Args:
        token: of an ngrok account.
        domain: a name that is reserved for the account; None for one that ngrok chooses.
    """

    def __init__(self, token: str, domain: str | None = None) -> None:
        self._token, self._domain = token, domain
        self._config: PyngrokConfig | None = None
        self._lifeline: int | None = None

    def open(self, port: int) -> str:
        """Starts the agent and returns the address that leads to 127.0.0.1:port.

        Raises TunnelError, or TunnelDownError where it may work a little later.
        """
        agent = agent_path()
        _be_quiet()
        folder = _private_folder()
        try:
            url = self._connect(agent, folder, port)
            if not url.startswith("https://"):
                raise TunnelError(f"ngrok gave an address without HTTPS ({url}); try again.")
            return url
        except BaseException:
            self.close()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def is_running(self) -> bool:
        from pyngrok import process

        return self._config is not None and process.is_process_running(self._config.ngrok_path)

    def close(self) -> None:
        """Ends the agent; returns when it is gone."""
        from pyngrok import process

        self._cut_lifeline()
        config, self._config = self._config, None
        if config is None:
            return
        deadline = time.monotonic() + _END_SECONDS
        while process.is_process_running(config.ngrok_path) and time.monotonic() < deadline:
            if sys.platform != "linux":  # without a warden, nothing else would end it
                break
            time.sleep(0.005)
        process.kill_process(config.ngrok_path)

    def _connect(self, agent: Path, folder: Path, port: int) -> str:
        from pyngrok import ngrok
        from pyngrok.exception import PyngrokError

        watch = _StartWatch()
        self._config = self._configure(agent, folder, watch)
        # pyngrok waits for a line of the agent's, and would wait for ever for a silent one.
        late = threading.Timer(START_SECONDS + 1, self._cut_lifeline)
        late.start()
        try:
            # In pyngrok's terms of ngrok's third configuration: HTTPS, and no other scheme.
            tunnel = ngrok.connect(
                f"http://127.0.0.1:{port}",
                name=_NAME,
                pyngrok_config=self._config,
                url=f"https://{self._domain or ''}",
            )
        except (PyngrokError, OSError, ValueError) as error:
            raise self._told(error, agent, folder) from None
        finally:
            watch.started = True
            late.cancel()
        return tunnel.public_url

    def _configure(self, agent: Path, folder: Path, watch: "_StartWatch") -> "PyngrokConfig":
        import yaml
        from pyngrok.conf import PyngrokConfig

        settings = {
            "version": "3",
            "agent": {
                "authtoken": self._token,
                # What passes is somebody's handwriting: the agent keeps no copies of it.
                "inspect_db_size": -1,
                "remote_management": False,
                "update_check": False,
            },
        }
        path = folder / "ngrok.yml"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            yaml.safe_dump(settings, file)
        config = PyngrokConfig(
            ngrok_path=str(self._launcher(agent, folder)),
            config_path=str(path),
            startup_timeout=START_SECONDS,
            request_timeout=_REQUEST_SECONDS,
            start_new_session=os.name == "posix",  # out of reach of the terminal's Ctrl-C
            log_event_callback=watch,
        )
        config.auth_token = None  # from the environment it would go into the command line
        return config

    def _launcher(self, agent: Path, folder: Path) -> Path:
        """A program for pyngrok to start: the agent, with a standard input that ends as we do."""
        if os.name != "posix":
            return agent
        path = folder / "agent"
        pipe = folder / "lifeline"
        os.mkfifo(pipe, 0o600)
        # Opened for reading, too: a FIFO without a reader could not be opened at once.
        self._lifeline = os.open(pipe, os.O_RDWR)
        command = shlex.join(watched([str(agent)]))
        places = f"<{shlex.quote(str(pipe))} 2>{shlex.quote(str(folder / 'errors'))}"
        path.write_text(f'#!/bin/sh\nexec {command} "$@" {places}\n')
        path.chmod(0o700)
        return path

    def _cut_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)

    def _told(self, error: Exception, agent: Path, folder: Path) -> TunnelError:
        """The sentence for what pyngrok or the agent says."""
        said = " ".join(
            str(part)
            for part in (
                getattr(error, "ngrok_error", None) or error,
                getattr(error, "body", None) or "",
            )
        )
        said = " ".join(said.replace("\\r", " ").replace("\\n", " ").split())
        said = said.replace(self._token, "(the token)")
        code = _CODE.search(said)
        number = int(code[1]) if code else 0
        if number in _NO_TOKEN:
            return TunnelError(
                f"ngrok does not take this token ({code[0]}); copy yours from {TOKEN_PAGE}."
            )
        if number in _REVOKED:
            return TunnelError(
                f"This ngrok token is not valid any more ({code[0]}): it was reset or revoked; "
                f"copy the new one from {TOKEN_PAGE}."
            )
        if number in _TOO_MANY:
            return TunnelDownError(
                f"Another tunnel of this ngrok account is open ({code[0]}), and its plan allows no "
                "second one; end that one first."
            )
        if number in _TOO_OLD:
            return TunnelError(
                f"The ngrok agent {agent} is too old ({code[0]}); delete it, and the next start "
                "fetches a new one."
            )
        if number in _NOT_YOURS:
            return TunnelError(
                f"{self._domain or 'The address'} is not a domain of this ngrok account "
                f"({code[0]}); reserve it on ngrok's dashboard, or leave --domain out."
            )
        if code:
            return TunnelError(f"ngrok refused the tunnel: {_short(said)} ({code[0]}).")
        if getattr(error, "ngrok_error", None):
            return TunnelDownError(
                f"ngrok's servers were not reached ({_short(said)}); check the network, or, "
                f"{OTHER_WAYS}"
            )
        if getattr(error, "status_code", None) == 404:
            return TunnelError(f"The ngrok agent {agent} is too old; delete it, and try again.")
        if getattr(error, "status_code", None):
            return TunnelError(f"ngrok refused the tunnel: {_short(said)}")
        if _errors(folder):
            return TunnelError(
                f"The ngrok agent {agent} does not run ({_short(_errors(folder))}); delete it, and "
                "the next start fetches a new one."
            )
        return TunnelDownError(
            f"The ngrok agent {agent} did not start in {START_SECONDS} s ({_short(said)}); try "
            f"again, or, {OTHER_WAYS}"
        )


class _StartWatch:
    """Ends pyngrok's waiting once the agent has said why it cannot start; it would go on trying."""

    def __init__(self) -> None:
        self.started = False
        self._begun = time.monotonic()

    def __call__(self, log: "NgrokLog") -> None:
        if self.started or not log.err or log.lvl not in ("ERROR", "CRITICAL"):
            return
        if _CODE.search(log.err) or time.monotonic() - self._begun > UNREACHABLE_SECONDS:
            from pyngrok.exception import PyngrokNgrokError

            raise PyngrokNgrokError(log.err, [log], log.err)


def _private_folder() -> Path:
    parent = lab_folder() / "tunnel"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("ngrok-*"):  # of a start that was killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix="ngrok-"))  # of mode 700


def _be_quiet() -> None:
    """Keeps the agent's log lines, which may hold the token, from whoever asked for no log."""
    log = logging.getLogger("pyngrok")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _errors(folder: Path) -> str:
    """The last line that the agent wrote to its standard error."""
    with suppress(OSError, IndexError):
        return (folder / "errors").read_text(errors="replace").split("\n")[-2]
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:160]}..."
