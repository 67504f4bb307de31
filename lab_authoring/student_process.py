"""The program in which a student's cells and the official checks run: IPython without Jupyter,
within limits. The checks run here because the student's function is here."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from lab_utils.lessons.official import run_with_source

MAX_FILE_BYTES = 2**30
MAX_MESSAGE = 10_000
"""Characters of a reply's message."""


def main(descriptor: int, memory_mib: int, checks: str) -> None:
    """Answers requests until the other end closes.

    A request is JSON: `code` of a cell, or `name` and `modules` as `check` takes them. The reply
    has `result` and `message`.

    Args:
        descriptor: of the connection.
        checks: the name of the module of checks, whose calls in cells do nothing here.
    """
    os.umask(0o077)
    _limit(memory_mib * 2**20)
    connection, own = Connection(descriptor), os.getpid()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    shell = _shell()
    shell.user_ns["checks"] = sys.modules[checks] = _NoChecks(checks)
    while True:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that comes after a reply
        request = json.loads(connection.recv_bytes())
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if "code" in request:
                reply = _run_cell(shell, request["code"])
            else:
                reply = check(shell.user_ns, **request)
        except KeyboardInterrupt:
            reply = {"result": "timed out", "message": ""}
        if os.getpid() != own:  # a process that the student's code forked
            os._exit(0)
        connection.send_bytes(json.dumps(reply).encode())


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


def _run_cell(shell: Any, code: str) -> dict[str, str]:
    ended = shell.run_cell(code, store_history=True)
    error = ended.error_before_exec or ended.error_in_exec
    if error is None:
        return {"result": "ok", "message": ""}
    if isinstance(error, MemoryError):
        return {"result": "out of memory", "message": ""}
    return {"result": "failed", "message": _told(error)}


def check(namespace: dict[str, Any], name: str, modules: dict[str, str]) -> dict[str, str]:
    """Runs the official check of a function in the student's namespace.

    Args:
        name: of the function and of its check.
        modules: the text of each official module by its name, the one with the checks last.

    Returns `result` ("passed", "failed", "missing", "timed out" or "out of memory") and `message`.
    """
    if name not in namespace:
        return {"result": "missing", "message": ""}
    failures: tuple[type[BaseException], ...] = ()
    try:
        with _official(modules) as (base, module), contextlib.redirect_stdout(io.StringIO()):
            failures = (base.CheckFailed,)
            getattr(module, name)(namespace[name])
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # The base of all checks turns each error of the student's function into CheckFailed.
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return {"result": "out of memory", "message": ""}
            cause = cause.__context__
        if isinstance(error, failures):
            return {"result": "failed", "message": str(error)}
        return {"result": "failed", "message": f"{name} stopped its check with {_told(error)}"}
    return {"result": "passed", "message": ""}


def _told(error: BaseException) -> str:
    try:
        text = str(error)[:MAX_MESSAGE]
    except Exception:  # an error class of the student's
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def _official(modules: dict[str, str]) -> Iterator[list[ModuleType]]:
    """The official modules, run from their texts, in place of the imported ones of those names.

    So it has no effect if the student's code rebinds names in the modules that it imported.
    """
    imported = {name: sys.modules.get(name) for name in modules}
    fresh = []
    try:
        for name, text in modules.items():
            module = ModuleType(name)
            module.__package__, module.__file__ = name.rpartition(".")[0], f"<official {name}>"
            sys.modules[name] = module
            run_with_source(text, module.__file__, vars(module))
            fresh.append(module)
        yield fresh
    finally:
        for name, module in imported.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def end_with(parent: int) -> None:
    """Ends this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


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
    with contextlib.suppress(EOFError, ConnectionError):
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
