"""The program in which a student's cells and the official checks run: IPython without Jupyter,
within limits. The checks run here because the student's function is here.

    python -m lab_authoring.student_process JOB.json

The job has `steps`, each the `code` of a cell or the `name` of a function to check; `checks`, the
file of the official checks; and `memory_mib`. The program prints `result`, `message` and `alive` of
each step, as a line of JSON.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

MAX_FILE_BYTES = 2**30
MAX_MESSAGE = 10_000
"""Characters of a message."""


def main(job: dict[str, Any]) -> None:
    """Runs the steps of a job; what the student's code prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.umask(0o077)
    _limit(job["memory_mib"] * 2**20)
    official = _official_checks(Path(job["checks"]))
    own, shell = os.getpid(), _shell()
    shell.user_ns["checks"] = sys.modules[official.__name__] = _NoChecks(official.__name__)
    for step in job["steps"]:
        if "code" in step:
            reply = _run_cell(shell, step["code"])
        else:
            reply = _check(shell.user_ns, step["name"], official)
        if os.getpid() != own:  # a process that the student's code forked
            os._exit(0)
        print(json.dumps(reply), file=replies, flush=True)


def _official_checks(file: Path) -> ModuleType:
    """The module of checks, loaded before the student's code runs.

    What that imports of the lessons is then another copy, in which it may rebind what it likes.
    """
    name = f"lab_utils.lessons.{file.parent.name}.checks"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in [name for name in sys.modules if name.startswith("lab_utils.lessons")]:
        del sys.modules[name]
    return module


class _NoChecks(ModuleType):
    """Takes the place of a module of checks, so that a failed one does not end a student's cell."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_: None

    def go_on(self, name: str, function: Any = None) -> Any:
        """The student's function, solved or not."""
        return function


def _shell() -> Any:
    """IPython's shell, which knows magics, `!command` and `await`."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def ask_exit(self) -> None:  # what exit() and quit() call
            os._exit(0)

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.xmode = "Minimal"  # nobody reads the tracebacks
    return Shell.instance(config=config)


def _run_cell(shell: Any, code: str) -> dict[str, Any]:
    ended = shell.run_cell(code, store_history=True)
    error = ended.error_before_exec or ended.error_in_exec
    if error is None:
        return {"result": "ok"}
    if isinstance(error, MemoryError):  # the traceback keeps what filled the memory
        return {"result": "out of memory", "alive": False}
    return {"result": "failed", "message": _described(error)}


def _check(namespace: dict[str, Any], name: str, official: ModuleType) -> dict[str, Any]:
    """Runs the official check of a function in the student's namespace."""
    if name not in namespace:
        return {"result": "missing"}
    try:
        getattr(official, name)(namespace[name])
    except BaseException as error:
        # The base of all checks turns each error of the student's function into CheckFailed.
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return {"result": "out of memory"}
            cause = cause.__context__
        return {"result": "failed", "message": str(error)}
    return {"result": "passed"}


def _described(error: BaseException) -> str:
    try:
        text = str(error)[:MAX_MESSAGE]
    except Exception:  # an error class of the student's
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _limit(memory: int) -> None:
    """Limits data (bytes; on Linux), files and core dumps of this process and of its children."""
    import resource

    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: MAX_FILE_BYTES}
    if sys.platform == "linux":
        # Not the address space: CUDA and thread arenas reserve far more of it than they use.
        limits[resource.RLIMIT_DATA] = memory
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
