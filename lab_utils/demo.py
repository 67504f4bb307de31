"""All the parts at once, as people meet them: the model in a service, the app before it, a link.

Each part is what its own command starts. They end together and in order, so that nobody meets an
app without a reader; what runs outside this process ends with it, however it ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder, project_folder

if TYPE_CHECKING:
    from lab_utils.service.gateway import Gateway
    from lab_utils.tunnel import Tunnel

LOOPBACK = "127.0.0.1"
QUEUE_SIZE = 16
LOOK_SECONDS = 1.0
"""How often it is looked whether the parts are there."""

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

Say = Callable[[str], None]


class DemoError(RecognizerError):
    """The demo cannot be started as asked, or a part of it has ended for good."""


class Way(StrEnum):
    """How a link from outside is made."""

    NGROK = "ngrok"
    SSH = "ssh"
    NONE = "none"


@dataclass(frozen=True)
class Settings:
    """What is asked for; the defaults need no account and no network."""

    model: Path | None = None
    """TorchScript file; None for the staged model of that version, or the packaged weights."""
    version: str | None = None
    """Staged model at the tracker; None for `production`, where there is one."""
    port: int | None = None
    """The app's; None for its usual one, or a free one where that is taken."""
    service_port: int | None = None
    """The service's, likewise."""
    workers: int = 1
    way: Way | None = None
    """None for ngrok where there is a token, and else for no link from outside."""
    auth: str | None = "made"
    """What the link asks for, as `open_tunnel` takes it; without a link, what the app asks for."""
    domain: str | None = None
    ssh: str | None = None
    """`user@host` or `user@host:port`."""
    remote_port: int | None = None
    ssh_config: Path | None = None


@dataclass(frozen=True)
class Running:
    """A demo that can be used."""

    url: str
    """The address to give to people."""
    local_url: str
    """The app's address on this machine."""
    service_url: str
    tunnel: "Tunnel | None"


def run_demo(settings: Settings, ready: Callable[[Running], None], say: Say) -> None:
    """Starts all parts, calls `ready`, and goes on until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        settings: what to start.
        ready: is called once, when a page has been read through the service and the app answers.
        say: takes a line for each part that stands, and for each that breaks or comes back.

    Raises:
        RecognizerError: a part cannot be started, or has ended; all others are ended then.
        KeyboardInterrupt, SystemExit: at the signals, once all is ended.
    """
    way = _way(settings, say)
    with ExitStack() as stack:
        stack.enter_context(_signals_end_it())
        parts = stack.enter_context(ExitStack())
        # A second Ctrl-C would cut off the ending. It is bounded in time by itself.
        stack.callback(_ignore_signals)
        steps = _Steps(say)
        _load_app_meanwhile()
        model = find_model(settings.model, settings.version, say)
        steps.done("model", _short(model))
        gateway, kind = parts.enter_context(_service(settings, model, say))
        steps.done("service", f"{gateway.url}, {kind}")
        steps.done("check", f"a page of {_characters_of_a_page(gateway.url)} characters was read")
        port = _port(settings.port, _app_port(), "app", "--port", say)
        app_auth = settings.auth if way is Way.NONE and settings.auth != "made" else None
        local_url = parts.enter_context(_app(gateway.url, port, app_auth))
        steps.done("app", local_url)
        tunnel = None
        if way is not Way.NONE:
            tunnel = parts.enter_context(_open_tunnel(settings, way, port, say))
            steps.done("link", tunnel.url)
        url = tunnel.url if tunnel else local_url
        ready(Running(url, local_url, gateway.url, tunnel))
        _watch(tunnel, {"The service": gateway.port, "The app": port})


def find_model(model: Path | None, version: str | None, say: Say) -> Path:
    """The file to serve: `model`, LAB_MODEL's, the staged version's, or the packaged weights'.

    Without a name, the tracker is asked for `production` where it has anything, and the packaged
    weights are taken where it has none. Raises RecognizerError for what is named and not there.
    """
    from lab_utils.model import model_file
    from lab_utils.staging.names import PRODUCTION

    if model is not None and version is not None:
        raise DemoError("Give --model or --version, not both.")
    if version is None and (model is not None or os.environ.get("LAB_MODEL")):
        return model_file(model)
    if version is not None:
        return _fetch(version)
    if _tracker_has_data():
        try:
            return _fetch(PRODUCTION)
        except DemoError as error:
            say(f"The packaged weights are served. {error} (`lab stage --promote` makes one.)")
    return model_file()


def _tracker_has_data() -> bool:
    from lab_tracker import environment

    folder = environment.tracker_folder() or lab_folder() / "wandb"
    return environment.has_real_key() or (folder / "tracking.sqlite").is_file()


def _fetch(version: str) -> Path:
    """A staged model as `lab fetch` brings it, in a process whose helpers end with it."""
    out = (lab_folder() / "staged" / "demo.pt").absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "lab_utils.cli", "fetch", version, "--out", str(out)],
        cwd=project_folder(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("lab: ")]
        reason = told[-1].removeprefix("lab: ") if told else f"it ended with {done.returncode}"
        raise DemoError(reason)
    return out


@contextmanager
def _service(settings: Settings, model: Path, say: Say) -> Iterator[tuple["Gateway", str]]:
    """The gateway before the model, answering, and what the model runs in."""
    from lab_utils.service.errors import ServiceError
    from lab_utils.service.gateway import DEFAULT_PORT
    from lab_utils.service.local import lambda_service

    port = _port(settings.service_port, DEFAULT_PORT, "service", "--service-port", say)
    workers = settings.workers
    with ExitStack() as stack:
        try:
            _check_emulator()
        except ServiceError as error:
            say(f"The model runs in this process, without Lambda's emulator. {error}")
            gateway = stack.enter_context(_in_process(model, workers, port))
            kind = "in this process"
        else:
            gateway = stack.enter_context(
                lambda_service(model, workers, port, queue_size=QUEUE_SIZE)
            )
            kind = f"{workers} {'function' if workers == 1 else 'functions'} in Lambda's emulator"
        gateway.start()
        stack.callback(gateway.stop)
        yield gateway, kind


def _check_emulator() -> None:
    import importlib.util

    from lab_utils.service.emulator_binary import emulator_binary
    from lab_utils.service.errors import ServiceError

    emulator_binary()
    if importlib.util.find_spec("awslambdaric") is None:
        raise ServiceError("Lambda's runtime is missing: `pip install awslambdaric` brings it.")


@contextmanager
def _in_process(model: Path, workers: int, port: int) -> Iterator["Gateway"]:
    """The same address and queue, with the handler in this process."""
    from lab_utils.service.gateway import Gateway
    from lab_utils.service.in_process import InProcessFunction
    from lab_utils.service.lambda_handler import LambdaHandler
    from lab_utils.service.pool import EmulatorPool
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    handler = LambdaHandler(ParagraphTextRecognizer(model), model, log=lambda line: None)
    functions = [InProcessFunction(handler) for _ in range(workers)]
    with EmulatorPool(functions, QUEUE_SIZE) as pool, Gateway(pool, port) as gateway:
        yield gateway


def _characters_of_a_page(url: str) -> int:
    """Reads a sample page with the service; raises RecognizerError where that fails."""
    from lab_utils.predictors.remote import RemotePredictor
    from text_recognizer.places import SAMPLE_PAGES

    page = min(SAMPLE_PAGES.glob("show_*.jpg"))
    with RemotePredictor(url) as predictor:
        return len(predictor.predict(page))


def _load_app_meanwhile() -> None:
    """Imports Gradio, which takes seconds, while the main thread waits for the service."""
    from lab_utils.app.server import prepare_environment

    prepare_environment()
    name = "lab_utils.app.frontend"
    threading.Thread(target=import_module, args=(name,), name="import", daemon=True).start()


@contextmanager
def _app(model_url: str, port: int, auth: str | None) -> Iterator[str]:
    """The address of the app, with the service at `model_url` as its reader."""
    from lab_utils.app import make_frontend
    from lab_utils.app.server import parse_auth
    from lab_utils.predictors import RemotePredictor

    login = parse_auth(auth) if auth else None
    frontend = make_frontend(RemotePredictor(model_url))
    try:
        with redirect_stdout(StringIO()):  # Gradio's own lines
            frontend.launch(
                inline=False,
                prevent_thread_lock=True,
                server_name=LOOPBACK,
                server_port=port,
                auth=login,
            )
        yield frontend.local_url
    finally:
        frontend.close()


def _way(settings: Settings, say: Say) -> Way:
    """How the link is made, settled before anything is started."""
    from lab_utils.tunnel.login import login_of
    from lab_utils.tunnel.token import VARIABLE

    login_of(settings.auth)
    way = settings.way
    if way is None and settings.ssh is not None:
        way = Way.SSH
    if way is None and os.environ.get(VARIABLE, "").strip():
        way = Way.NGROK
    if way is None:
        if settings.domain is not None:
            raise DemoError(f"--domain needs a link: set {VARIABLE}, or give --ssh USER@HOST.")
        say(
            f"The demo stays on this machine: for a public link set {VARIABLE}, or give "
            "--ssh USER@HOST for a host of your own."
        )
        way = Way.NONE
    if (way is Way.SSH) != (settings.ssh is not None):
        raise DemoError("--tunnel ssh and --ssh USER@HOST go together.")
    if way is Way.NGROK:
        from lab_utils.tunnel.ngrok_binary import agent_path
        from lab_utils.tunnel.token import find_token

        find_token()
        agent_path()
    return way


def _open_tunnel(settings: Settings, way: Way, port: int, say: Say) -> "Tunnel":
    from lab_utils.tunnel import open_ssh_tunnel, open_tunnel
    from lab_utils.tunnel.opening import DEFAULT_REMOTE_PORT

    if way is Way.NGROK:
        return open_tunnel(port, settings.auth, settings.domain, tell=say)
    return open_ssh_tunnel(
        port,
        settings.ssh,
        settings.auth,
        settings.domain,
        remote_port=settings.remote_port or DEFAULT_REMOTE_PORT,
        ssh_config=settings.ssh_config,
        tell=say,
    )


def _watch(tunnel: "Tunnel | None", ports: dict[str, int]) -> None:
    """Returns when the tunnel is closed, and raises RecognizerError when a part is gone.

    Functions and the tunnel's agent that die are started again by the parts that they belong to.
    """
    ended = threading.Event()
    failures: list[RecognizerError] = []

    def follow() -> None:
        try:
            tunnel.wait()
        except RecognizerError as error:
            failures.append(error)
        ended.set()

    if tunnel is not None:
        threading.Thread(target=follow, name="tunnel's end", daemon=True).start()
    while not ended.wait(LOOK_SECONDS):
        for name, port in ports.items():
            with suppress(TimeoutError):  # busy is not gone
                try:
                    socket.create_connection((LOOPBACK, port), timeout=LOOK_SECONDS).close()
                except ConnectionRefusedError:
                    raise DemoError(
                        f"{name} at {LOOPBACK}:{port} has ended, and the demo with it; start "
                        "`lab demo` again."
                    ) from None
    for failure in failures:
        raise failure


def _app_port() -> int:
    from lab_utils.app.server import DEFAULT_PORT

    return DEFAULT_PORT


def _port(wanted: int | None, usual: int, name: str, option: str, say: Say) -> int:
    """The port asked for, which has to be free, or the usual one, or any that is free."""
    if wanted:
        if not _can_listen(wanted):
            raise DemoError(f"Port {wanted} is taken; give another {option}, or leave it out.")
        return wanted
    if wanted is None and _can_listen(usual):
        return usual
    with socket.create_server((LOOPBACK, 0)) as probe:
        port = probe.getsockname()[1]
    if wanted is None:
        say(f"Port {usual} is taken, so the {name} takes {port}.")
    return port


def _can_listen(port: int) -> bool:
    try:
        socket.create_server((LOOPBACK, port)).close()
        return True
    except (OSError, OverflowError):
        return False


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo in order, as Ctrl-C does; their handlers come back after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
    for number in _ENDING:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ENDING):
            signal.signal(number, signal.SIG_IGN)


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


class _Steps:
    """Tells each part that stands, with the seconds that it took."""

    def __init__(self, say: Say) -> None:
        self._say, self._began = say, time.perf_counter()

    def done(self, name: str, told: str) -> None:
        now = time.perf_counter()
        self._say(f"{name:<9}{now - self._began:5.1f} s  {told}")
        self._began = now


def _short(path: Path) -> Path:
    root = project_folder()
    return path.relative_to(root) if path.is_relative_to(root) else path
