"""All the parts at once, as people meet them: the model in a service, the app before it, a link.

Each part is what its own command starts. They end together and in order, so that nobody meets an
app without a reader; what runs outside this process ends with it, however it ends.
"""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib import import_module
from pathlib import Path

from lab_utils.app.server import make_frontend, prepare_environment
from lab_utils.logins import MADE, login_of
from lab_utils.model import model_file
from lab_utils.net import free_port
from lab_utils.predictors import RemotePredictor
from lab_utils.service.local import model_service
from lab_utils.signals import ignore_signals
from lab_utils.tunnel import Tunnel, open_link
from lab_utils.tunnel.ngrok import VARIABLE, agent_path, find_token
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES

Say = Callable[[str], None]


def run_demo(
    ready: Callable[[str, Tunnel | None], None],
    say: Say,
    *,
    auth: str | None = MADE,
    domain: str | None = None,
    model: Path | None = None,
    port: int | None = None,
    workers: int = 1,
) -> None:
    """Starts all parts, calls `ready`, and goes on until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        ready: is called once, when a page has been read through the service and the app answers,
            with the address to give to people and the link from outside, if there is one.
        say: takes a line for each part that is ready, and for each that breaks or comes back.
        auth, domain: of the link, which is opened if there is a token; see `open_link`. Without a
            link, the login is what the app asks for, unless it is a made one.
        model: TorchScript file; None for the default, see `lab_utils.model`.
        port: the app's; None for its usual one, or a free one if that is taken.
        workers: functions that read at the same time.

    Raises:
        RecognizerError: a part can't be started, or the link is lost for good; all are ended then.
        KeyboardInterrupt: at the signals, once all is ended.
    """
    has_link = _has_link(auth, domain, say)
    free_port(port, RecognizerError)  # says that a port is taken before all else
    with ExitStack() as parts:
        try:
            prepare_environment()
            # Gradio takes seconds to import: it does while this thread waits for the service.
            loading = ("lab_utils.app.frontend",)
            threading.Thread(target=import_module, args=loading, daemon=True).start()
            file = model_file(model)
            say(f"model    {file}")
            gateway, where = model_service(file, workers)
            parts.callback(gateway.close)
            say(f"service  {gateway.url}. {where}")
            predictor = RemotePredictor(gateway.url)
            text = predictor.predict(min(SAMPLE_PAGES.glob("show_*.jpg")))
            say(f"check    a page of {len(text)} characters was read")
            frontend = parts.enter_context(closing(make_frontend(predictor)))
            login = None if has_link or auth == MADE else login_of(auth)
            frontend.launch(inline=False, server_port=port, auth=login)
            say(f"app      {frontend.local_url}")
            tunnel = None
            if has_link:
                tunnel = parts.enter_context(open_link(frontend.server_port, auth, domain, say=say))
                say(f"link     {tunnel.url}")
            ready(tunnel.url if tunnel else frontend.local_url, tunnel)
            # The parts restart functions and the tunnel's program by themselves when these die.
            if tunnel is None:
                threading.Event().wait()
            else:
                tunnel.wait()
        finally:
            # A second Ctrl-C would cut off the cleaning up, which takes a bounded time by itself.
            ignore_signals()


def _has_link(auth: str | None, domain: str | None, say: Say) -> bool:
    """Whether there is a way for a link from outside, settled before anything is started."""
    login_of(auth)
    if os.environ.get(VARIABLE, "").strip():
        find_token()
        agent_path()
        return True
    if domain is not None:
        raise RecognizerError(f"--domain needs a link: set {VARIABLE}.")
    say(f"The demo stays on this machine: for a public link set {VARIABLE}.")
    return False
