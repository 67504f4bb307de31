"""Emulated Lambda functions: AWS's emulator, with the real runtime and our handler in it.
One serves one request at a time; a second one at once would crash it."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx

from lab_utils.net import LOOPBACK, free_port, http_client
from lab_utils.process import end_kept, start_kept
from lab_utils.service.emulator_binary import emulator_binary
from lab_utils.service.errors import ServiceError

HANDLER = "lab_utils.service.lambda_entry.handler"
DEFAULT_MEMORY = 1769
"""MB; at this size Lambda gives a function the time of one core."""
DEFAULT_TIMEOUT = 30
"""s for one request."""

HEALTH_EVENT = json.dumps(
    {"version": "2.0", "rawPath": "/health", "requestContext": {"http": {"method": "GET"}}}
).encode()

_INVOCATIONS = "/2015-03-31/functions/function/invocations"
_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_ATTEMPTS = 3


class Reply(NamedTuple):
    """What the emulator answered: also a failed function may come as status 200."""

    status: int
    body: bytes


class EmulatorDownError(Exception):
    """The emulator gave no answer: it is not running, or crashed on the request."""


def check_emulator() -> Path:
    """The emulator's program, downloaded on first use.

    Raises ServiceError if it can't run here.
    """
    if importlib.util.find_spec("awslambdaric") is None:
        raise ServiceError("Lambda's runtime is missing; run `pip install awslambdaric`.")
    return emulator_binary()


class Emulator:
    """An emulated function over a model; a context manager runs it.

    Args:
        model: TorchScript file.
        memory: MB that the function believes to have; its number of threads follows from that.
        timeout: s that it has for a request.
        log: file that takes what the function writes; None for this process's stderr.
        environment: further variables for the function.
        handler: module and function that serve.
    """

    def __init__(
        self,
        model: Path,
        memory: int = DEFAULT_MEMORY,
        timeout: int = DEFAULT_TIMEOUT,
        log: Path | None = None,
        environment: dict[str, str] | None = None,
        handler: str = HANDLER,
    ) -> None:
        self._model, self._memory, self._timeout = model, memory, timeout
        self._log, self._environment, self._handler = log, environment or {}, handler
        self._client = http_client(timeout + _GRACE_SECONDS, local=True)
        self._process: subprocess.Popen | None = None
        self._port = 0
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> "Emulator":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def session(self) -> int:
        """The id of the session that its processes run in, and no other ones do."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Starts it, again if it runs, and returns once the function has loaded its model.

        Raises ServiceError if that fails; the last lines of its log say why.
        """
        program = check_emulator()
        if not self._model.is_file():
            raise ServiceError(f"There is no model file at {self._model}; give another one.")
        for _ in range(_ATTEMPTS):  # another process may take a port in between
            self.stop()
            self._spawn(program)
            if self._listens():
                break
        # The function itself starts on a first request.
        with suppress(EmulatorDownError, TimeoutError, ValueError, KeyError, TypeError):
            reply = self.invoke(HEALTH_EVENT, self._timeout + _START_SECONDS)
            if json.loads(reply.body)["statusCode"] == 200:
                return
        raise ServiceError(f"The function in the Lambda emulator did not start{self._last_words()}")

    def stop(self) -> None:
        """Ends the emulator and all that it has started; returns when they are gone."""
        process, self._process = self._process, None
        end_kept(process)

    def invoke(self, event: bytes, seconds: float | None = None) -> Reply:
        """Passes an event to the function and returns what the emulator answers.

        Args:
            event: JSON, at most 6 MB: the emulator would silently cut off more.
            seconds: how long to wait; None for the function's time and a little more.

        Raises EmulatorDownError if no answer came, TimeoutError if none came in time.
        """
        seconds = self._timeout + _GRACE_SECONDS if seconds is None else seconds
        url = f"http://{LOOPBACK}:{self._port}{_INVOCATIONS}"
        # Not kept alive: the process behind the port may be another one by the next request.
        headers = {"Connection": "close"}
        with self._one_at_a_time:
            try:
                answer = self._client.post(url, content=event, headers=headers, timeout=seconds)
            except httpx.TimeoutException as error:
                raise TimeoutError(str(error)) from error
            except httpx.HTTPError as error:
                raise EmulatorDownError(str(error)) from error
        return Reply(answer.status_code, answer.content)

    def _spawn(self, program: Path) -> None:
        self._port = free_port()
        # Both addresses always: the emulator's own choice is every address of the machine.
        command = [str(program), "--log-level", "error"]
        command += ["--runtime-interface-emulator-address", f"{LOOPBACK}:{self._port}"]
        command += ["--runtime-api-address", f"{LOOPBACK}:{free_port()}"]
        command += [sys.executable, "-m", "awslambdaric", self._handler]
        if self._log is None:
            self._process = start_kept(command, stdout=2, stderr=2, env=self._variables())
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as file:
            self._process = start_kept(command, stdout=file, stderr=file, env=self._variables())

    def _variables(self) -> dict[str, str]:
        # The user's keys and settings stay out: a function in the cloud doesn't have them either.
        own = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WANDB_"))}
        own |= self._environment
        root = str(Path(__file__).resolve().parents[2])
        return {
            **own,
            "PYTHONPATH": os.pathsep.join(filter(None, [root, own.get("PYTHONPATH")])),
            "LAMBDA_TASK_ROOT": root,
            "LAB_MODEL": str(self._model.resolve()),
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory),
        }

    def _listens(self) -> bool:
        process = self._process  # another thread may stop it meanwhile
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((LOOPBACK, self._port), timeout=1):
                return process.poll() is None
            time.sleep(0.01)
        return False

    def _last_words(self) -> str:
        if self._log is None:
            return "; the reason is above."
        lines = self._log.read_text(errors="replace").splitlines()
        # The function's own errors come first, then what the emulator says about them.
        own = [line for line in lines if line.startswith("[ERROR]")] or lines[-1:] or ["nothing"]
        return f" ({own[-1][:300]}); its log is {self._log}."
