"""An emulated Lambda function: AWS's emulator, with the real runtime and our handler in it."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from lab_utils.net import LOOPBACK, free_port, http_client
from lab_utils.process import end_kept, start_kept
from lab_utils.service.emulator_binary import emulator_binary
from lab_utils.service.errors import ServiceError
from lab_utils.service.function_url import TIMED_OUT

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


def check_emulator() -> Path:
    """The emulator's program, downloaded on first use.

    Raises ServiceError if it can't run here.
    """
    if importlib.util.find_spec("awslambdaric") is None:
        raise ServiceError("Lambda's runtime is missing; run `pip install awslambdaric`.")
    return emulator_binary()


class Emulator:
    """An emulated function over a model, between `start` and `stop`. It takes the environment of
    this process, without the user's keys.

    Args:
        model: TorchScript file.
        memory: MB that the function believes to have; its number of threads follows from that.
        timeout: s that it has for a request.
        log: file that takes what the function writes; None for this process's stderr.
        handler: module and function that serve.
    """

    def __init__(
        self,
        model: Path,
        memory: int = DEFAULT_MEMORY,
        timeout: int = DEFAULT_TIMEOUT,
        log: Path | None = None,
        handler: str = HANDLER,
    ) -> None:
        self._model, self._memory, self._timeout = model, memory, timeout
        self._log, self._handler = log, handler
        self._client = http_client(timeout + _GRACE_SECONDS, local=True)
        self._process: subprocess.Popen | None = None
        self._port = 0

    @property
    def session(self) -> int:
        """The id of the session that its processes run in, and no other ones do."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Starts it, and returns once the function has loaded its model.

        Raises ServiceError if that fails; the last lines of its log say why.
        """
        program = check_emulator()
        try:
            for _ in range(_ATTEMPTS):  # another process may take a port in between
                self.stop()
                self._process = self._spawn(program)
                if self._answers():
                    return
                if self._process.poll() is None:
                    break
            reason = self._last_words()
            raise ServiceError(f"The function in the Lambda emulator did not start{reason}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the emulator and all that it has started; returns when they are gone."""
        process, self._process = self._process, None
        end_kept(process)

    def invoke(self, event: bytes) -> Reply:
        """Passes an event to the function and returns what the emulator answers.

        Only one event at a time: a second one would crash the emulator. A function that has failed
        ends, as on Lambda, and the next event starts another one.

        Args:
            event: JSON, at most 6 MB: the emulator would silently cut off more.

        Raises ServiceError if the function can't be started again.
        """
        if self._process is None:
            self.start()
        try:
            reply = self._post(event)
        except httpx.TimeoutException:
            reply = Reply(200, TIMED_OUT)
        except httpx.HTTPError:
            reply = Reply(502, b"{}")
        if reply.status != 200 or reply.body.startswith(TIMED_OUT):
            self.stop()
        return reply

    def _post(self, event: bytes, more_seconds: float = 0.0) -> Reply:
        url = f"http://{LOOPBACK}:{self._port}{_INVOCATIONS}"
        # Not kept alive: the process behind the port may be another one by the next request.
        headers = {"Connection": "close"}
        seconds = self._timeout + _GRACE_SECONDS + more_seconds
        answer = self._client.post(url, content=event, headers=headers, timeout=seconds)
        return Reply(answer.status_code, answer.content)

    def _answers(self) -> bool:
        """Waits for the emulator, and for the function, which starts on a first request."""
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                reply = self._post(HEALTH_EVENT, _START_SECONDS)
                return json.loads(reply.body)["statusCode"] == 200
            except httpx.ConnectError:
                time.sleep(0.01)
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                break
        return False

    def _spawn(self, program: Path) -> subprocess.Popen:
        self._port = free_port()
        # Both addresses always: the emulator's own choice is every address of the machine.
        command = [str(program), "--log-level", "error"]
        command += ["--runtime-interface-emulator-address", f"{LOOPBACK}:{self._port}"]
        command += ["--runtime-api-address", f"{LOOPBACK}:{free_port()}"]
        command += [sys.executable, "-m", "awslambdaric", self._handler]
        with self._log.open("ab") if self._log else contextlib.nullcontext(2) as output:
            return start_kept(command, stdout=output, stderr=output, env=self._variables())

    def _variables(self) -> dict[str, str]:
        # The user's keys and settings stay out: a function in the cloud doesn't have them either.
        own = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WANDB_"))}
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

    def _last_words(self) -> str:
        if self._log is None:
            return "; the reason is above."
        lines = self._log.read_text(errors="replace").splitlines()
        # The function's own errors come first, then what the emulator says about them.
        own = [line for line in lines if line.startswith("[ERROR]")] or lines[-1:] or ["nothing"]
        return f" ({own[-1][:300]}); its log is {self._log}."
