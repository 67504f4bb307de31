"""The batching service as something that is started and stopped: from a command, a notebook, a
test or a benchmark. Ray itself runs in another process, see `ray_server`."""

import importlib.util
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab_utils.process import session_members
from lab_utils.service.errors import ServiceError
from lab_utils.service.ray_settings import Settings
from lab_utils.service.wire import model_fingerprint
from text_recognizer.errors import ModelFileError
from text_recognizer.places import PROJECT

LOOPBACK = "127.0.0.1"
START_SECONDS = 180.0
"""Ray takes ten seconds on an idle machine, and minutes on a busy one."""
STOP_SECONDS = 20.0

_MOST_CHARACTERS = 36
"""Of Ray's folder: the sockets below it have paths of 70 more, and may have 107 in all."""


class RayServiceError(ServiceError):
    """The service can't be started, changed, or went down."""


class _ProcessEnded(RayServiceError):
    """The process with Ray has ended by itself."""


class RayService:
    """Ray Serve with the reading application on 127.0.0.1, on this machine alone.

        with RayService(Settings("paragraph_reader.pt", replicas=2)) as service:
            RemotePredictor(service.url).predict("page.png")

    The model file is copied when it is given, so that replicas which start later read with the
    same model. Ray has a private network, see `ray_network`; a thread of the process that has Ray
    stays outside and fetches what an image_url names.

    Args:
        settings: the model, and how it reads.
        port: of HTTP; 0 takes a free one.
        allow_open_ports: also start where Ray can't have a private network. Then each replica
            listens on a port of all addresses, which asks for a token that only this service knows.
        allow_private_addresses: also fetch an image_url inside a private network.
        program: what runs; tests start a cluster of several nodes.

    Raises:
        RayServiceError: Ray is not installed, or the port is taken.
        ModelFileError: there is no such file.
    """

    def __init__(
        self,
        settings: Settings,
        port: int = 0,
        allow_open_ports: bool = False,
        allow_private_addresses: bool = False,
        program: Sequence[str] = ("-m", "lab_utils.service.ray_server"),
    ) -> None:
        check_installed()
        _check(Path(settings.model))
        self._settings, self._program = settings, program
        self._allow_open_ports = allow_open_ports
        self._allow_private_addresses = allow_private_addresses
        self._listener = _listen(port)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._at_end: Callable[[], None] | None = None
        self.is_private = True
        """Whether Ray has a network of its own, once it is started."""

    def __enter__(self) -> "RayService":
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """What Ray and its process said; it goes away with `stop`."""
        assert self._folder is not None
        return self._folder / "log"

    @property
    def process_id(self) -> int:
        """Id of the process that has Ray, and of the session of all that Ray started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when the replicas read. Raises RayServiceError or ModelFileError."""
        self.is_private = has_private_networks()
        if not self.is_private and not self._allow_open_ports:
            raise RayServiceError(
                "Ray would listen on all addresses, and this machine gives it no private network; "
                "allow that with --allow-open-ports, behind a firewall."
            )
        try:
            try:
                self._run()
            except _ProcessEnded:
                # Ray gives its parts 30 s to find each other, which a busy machine may miss.
                self._end()
                self._run()
        except BaseException:
            self.stop()
            raise
        # From here on the socket is the other process's alone: when it ends, the port is closed.
        self._listener.close()

    def _run(self) -> None:
        self._folder = folder = _short_folder()
        order = {
            "settings": asdict(self._pinned(self._settings)),
            "listener": self._listener.fileno(),
            "folder": str(folder),
            "private_network": self.is_private,
            "allow_private_addresses": self._allow_private_addresses,
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=[self._listener.fileno()],
                # A session of its own: Ctrl-C doesn't reach Ray's processes before they are told
                # to end, and what is left of them can be told from everybody else's.
                start_new_session=True,
                env=_environment(),
            )
        self._events = queue.SimpleQueue()
        listening = (self._process, self._events)
        threading.Thread(target=self._listen_to, args=listening, daemon=True).start()
        self._send(order)
        self._answer(START_SECONDS)

    def update(self, **changes: Any) -> None:
        """Serves with other settings, a new model say, without losing a request.

        The file at the same path may be another one than before: it is looked at anew.
        Raises ModelFileError or RayServiceError; what was served before then goes on.
        """
        settings = replace(self._settings, **changes)
        _check(Path(settings.model))
        pinned = self._pinned(settings)
        self.order({"do": "update", "settings": asdict(pinned)})
        self._settings = settings

    def order(self, order: dict[str, Any], seconds: float = START_SECONDS) -> dict[str, Any]:
        """Sends an order to the process with Ray and returns what it says of it."""
        self._send(order)
        return self._answer(seconds)

    def on_end(self, call: Callable[[], None]) -> None:
        """Calls back, from another thread, when the process with Ray ends."""
        self._at_end = call
        if self._process is None or self._process.poll() is not None:
            call()

    def stop(self) -> None:
        """Ends Ray and all that it started, when the requests under way are answered."""
        self._listener.close()
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            try:
                with suppress(BrokenPipeError):
                    process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            finally:
                _kill_session(process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _pinned(self, settings: Settings) -> Settings:
        model_fingerprint.cache_clear()
        fingerprint = model_fingerprint(settings.model)
        copy = self._folder / f"{fingerprint}.pt"
        if not copy.exists():
            shutil.copyfile(settings.model, copy)
        return replace(settings, model=str(copy))

    def _send(self, order: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, AttributeError):
            raise self.gone() from None

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            raise RayServiceError(f"Ray did not answer within {seconds:g} s; try again.") from None
        if event is None:
            raise self.gone()
        if event["event"] == "failed":
            raise RayServiceError(event["error"])
        return event

    def gone(self) -> RayServiceError:
        """The error to raise when the process with Ray has ended by itself."""
        text = self.log.read_text(errors="replace") if self._folder and self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = f" The last it said: {lines[-1][:300]}" if lines else ""
        return _ProcessEnded(f"Ray's process has ended; start the service again.{said}")

    def _listen_to(self, process: subprocess.Popen[str], events: queue.SimpleQueue) -> None:
        for line in process.stdout:
            events.put(json.loads(line))
        process.wait()
        events.put(None)
        if self._at_end is not None:
            self._at_end()


def check_installed() -> None:
    """Raises RayServiceError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise RayServiceError(
            "Ray is not installed; run in the project's folder: python -m pip install '.[ray]'"
        )


def has_private_networks() -> bool:
    """Whether this machine lets a process have a network of its own; tried in another process."""
    code = (
        "from lab_utils.service.ray_network import *\n"
        "become_namespace_owner(); enter_private_network()"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=_environment(), capture_output=True).returncode == 0


def _environment() -> dict[str, str]:
    """This process's environment, in which this package is found also where it isn't installed."""
    paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _check(model: Path) -> None:
    if not model.is_file():
        raise ModelFileError(f"There is no model file at {model}; make one with `lab compile`.")


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port), backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RayServiceError(
            f"The service cannot listen on {LOOPBACK}:{port} ({reason}); give it another port."
        ) from None


def _short_folder() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp"):
        if len(parent) <= _MOST_CHARACTERS - len("/lab-ray-12345678"):
            return Path(tempfile.mkdtemp(prefix="lab-ray-", dir=parent))
    raise RayServiceError(
        f"Ray needs a short path, and {tempfile.gettempdir()} is too long; set TMPDIR=/tmp."
    )


def _kill_session(leader: subprocess.Popen[str]) -> None:
    """Kills whatever is left of the session that a process leads, by its processes' ids."""
    deadline = time.monotonic() + STOP_SECONDS
    while (left := session_members(leader.pid)) and time.monotonic() < deadline:
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        leader.poll()
        time.sleep(0.02)
    leader.wait()
