"""All the parts at once, as people meet them: the model in a service, the app before it, a link.

Each part is what its own command starts. They end together and in order, so that nobody meets an
app without a reader; what runs outside this process ends with it, however it ends.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.logins import MADE, login_of
from lab_utils.net import LOOPBACK, listening_socket
from lab_utils.signals import ignore_signals
from lab_utils.tunnel import LinkSettings, open_link
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES

if TYPE_CHECKING:
    from lab_utils.service.gateway import Gateway
    from lab_utils.tunnel import Tunnel

QUEUE_SIZE = 16
LOOK_SECONDS = 1.0
"""How often the demo looks whether its parts still answer."""

Say = Callable[[str], None]


class DemoError(RecognizerError):
    """The demo can't be started as asked, or a part of it has ended for good."""


def run_demo(
    link: LinkSettings,
    ready: Callable[[str, "Tunnel | None"], None],
    say: Say,
    *,
    model: Path | None = None,
    port: int | None = None,
    workers: int = 1,
) -> None:
    """Starts all parts, calls `ready`, and goes on until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        link: through ssh if it names a host, else through ngrok if there is a token. Without a
            link, its login is what the app asks for, unless it is a made one.
        ready: is called once, when a page has been read through the service and the app answers,
            with the address to give to people and the link from outside, if there is one.
        say: takes a line for each part that is ready, and for each that breaks or comes back.
        model: TorchScript file; None for the default, see `lab_utils.model`.
        port: the app's; None for its usual one, or a free one if that is taken.
        workers: functions that read at the same time.

    Raises:
        RecognizerError: a part can't be started, or has ended; all others are ended then.
        KeyboardInterrupt: at the signals, once all is ended.
    """
    from lab_utils.app.server import DEFAULT_PORT, make_frontend
    from lab_utils.model import model_file
    from lab_utils.predictors import RemotePredictor

    has_link = _has_link(link, say)
    port = _port(port, DEFAULT_PORT, "app", say)
    with ExitStack() as stack:
        parts = stack.enter_context(ExitStack())
        # A second Ctrl-C would cut off the cleaning up, which takes a bounded time by itself.
        stack.callback(ignore_signals)
        done = _steps(say)
        _load_app_meanwhile()
        file = model_file(model)
        done("model", file)
        gateway, kind = parts.enter_context(_service(file, workers, say))
        done("service", f"{gateway.url}, {kind}")
        predictor = RemotePredictor(gateway.url)
        text = predictor.predict(min(SAMPLE_PAGES.glob("show_*.jpg")))
        done("check", f"a page of {len(text)} characters was read")
        frontend = parts.enter_context(closing(make_frontend(predictor)))
        login = None if has_link or link.auth == MADE else login_of(link.auth)
        frontend.launch(inline=False, server_port=port, auth=login)
        done("app", frontend.local_url)
        tunnel = None
        if has_link:
            tunnel = parts.enter_context(open_link(port, link, say=say))
            done("link", tunnel.url)
        ready(tunnel.url if tunnel else frontend.local_url, tunnel)
        _watch(tunnel, {"The service": gateway.port, "The app": port})


@contextmanager
def _service(model: Path, workers: int, say: Say) -> "Iterator[tuple[Gateway, str]]":
    """The gateway before the model, answering, and what the model runs in."""
    from lab_utils.service.emulator import check_emulator
    from lab_utils.service.errors import ServiceError
    from lab_utils.service.gateway import DEFAULT_PORT, Gateway, InProcessFunction
    from lab_utils.service.lambda_handler import LambdaHandler
    from lab_utils.service.local import lambda_service
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    port = _port(None, DEFAULT_PORT, "service", say)
    try:
        check_emulator()
    except ServiceError as error:
        say(f"The model runs in this process, without Lambda's emulator. {error}")
        handler = LambdaHandler(ParagraphTextRecognizer(model), model, log=lambda line: None)
        service = Gateway([InProcessFunction(handler)] * workers, port, QUEUE_SIZE)
        kind = "in this process"
    else:
        service = lambda_service(model, workers, port, queue_size=QUEUE_SIZE)
        kind = f"{workers} {'function' if workers == 1 else 'functions'} in Lambda's emulator"
    with service as gateway:
        gateway.start()
        yield gateway, kind


def _load_app_meanwhile() -> None:
    """Imports Gradio, which takes seconds, while the main thread waits for the service."""
    from lab_utils.app.server import prepare_environment

    prepare_environment()
    name = "lab_utils.app.frontend"
    threading.Thread(target=import_module, args=(name,), name="import", daemon=True).start()


def _has_link(link: LinkSettings, say: Say) -> bool:
    """Whether there is a way for a link from outside, settled before anything is started."""
    from lab_utils.tunnel.ngrok import VARIABLE, agent_path, find_token

    login_of(link.auth)
    if link.ssh is not None:
        return True
    if os.environ.get(VARIABLE, "").strip():
        find_token()
        agent_path()
        return True
    if link.domain is not None:
        raise DemoError(f"--domain needs a link: set {VARIABLE}, or give --ssh USER@HOST.")
    say(
        f"The demo stays on this machine: for a public link set {VARIABLE}, or give "
        "--ssh USER@HOST for a host of your own."
    )
    return False


def _watch(tunnel: "Tunnel | None", ports: dict[str, int]) -> None:
    """Returns when the tunnel is closed, and raises RecognizerError when a part is gone.

    The parts themselves restart functions and the tunnel's program when these die.
    """
    while tunnel is None or not tunnel.wait(LOOK_SECONDS):
        if tunnel is None:
            time.sleep(LOOK_SECONDS)
        for name, port in ports.items():
            with suppress(TimeoutError):  # busy is not gone
                try:
                    socket.create_connection((LOOPBACK, port), timeout=LOOK_SECONDS).close()
                except ConnectionRefusedError:
                    raise DemoError(
                        f"{name} at {LOOPBACK}:{port} has ended, and the demo with it; start "
                        "`lab demo` again."
                    ) from None


def _port(wanted: int | None, usual: int, name: str, say: Say) -> int:
    """The port asked for, which has to be free, or the usual one, or any that is free."""
    with listening_socket(wanted, error=DemoError, preferred=usual) as listening:
        port = listening.getsockname()[1]
    if wanted is None and port != usual:
        say(f"Port {usual} is taken, so the {name} uses {port}.")
    return port


def _steps(say: Say) -> Callable[[str, object], None]:
    """Says for each part that is ready how many seconds it took."""
    began = time.perf_counter()

    def done(name: str, what: object) -> None:
        nonlocal began
        before, began = began, time.perf_counter()
        say(f"{name:<9}{began - before:5.1f} s  {what}")

    return done
