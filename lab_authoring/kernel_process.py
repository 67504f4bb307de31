"""The program of a kernel that grades: ipykernel under limits of its own process, which also runs
official checks. It stays in the student's process, because there the function is."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

REQUEST = "#official-check "
"""Starts the code of a request; the rest is JSON with `name` and `modules`."""
REPLY = "official-check"
"""The place of the answer among the reply's user expressions."""
MAX_FILE_BYTES = 2**30


def main(connection_file: str, memory_mib: int) -> None:
    """Serves one kernel until it is killed."""
    _limit(memory_mib * 2**20)
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp

    class CheckingKernel(IPythonKernel):
        async def do_execute(self, code: str, *arguments: Any, **named: Any) -> dict:
            if not code.startswith(REQUEST):
                return await super().do_execute(code, *arguments, **named)
            answer = check(self.shell.user_ns, **json.loads(code.removeprefix(REQUEST)))
            payload = self.shell.payload_manager.read_payload()
            self.shell.payload_manager.clear_payload()
            return {
                "status": "ok",
                "execution_count": 0,
                "payload": payload,  # exit() in a student's function is told here
                "user_expressions": {REPLY: answer},
            }

    IPKernelApp.launch_instance(argv=["-f", connection_file], kernel_class=CheckingKernel)


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
        # What a student prints while being checked is nobody's to read.
        with _official(modules) as (base, module), contextlib.redirect_stdout(io.StringIO()):
            failures = (base.CheckFailed,)
            getattr(module, name)(namespace[name])
    except KeyboardInterrupt:
        return {"result": "timed out", "message": ""}
    except BaseException as error:
        # The base of all checks turns each error of the student's function into CheckFailed.
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return {"result": "out of memory", "message": ""}
            cause = cause.__context__
        if isinstance(error, failures):
            return {"result": "failed", "message": str(error)}
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return {"result": "failed", "message": f"{name} stopped its check with {what}"}
    return {"result": "passed", "message": ""}


@contextlib.contextmanager
def _official(modules: dict[str, str]) -> Iterator[list[ModuleType]]:
    """The official modules, run anew from their texts, in the place of those of the same names.

    Names that the student's code has bound in the modules that it imported thus have no effect.
    """
    imported = {name: sys.modules.get(name) for name in modules}
    fresh = []
    try:
        for name, text in modules.items():
            module = ModuleType(name)
            module.__package__ = name.rpartition(".")[0]
            sys.modules[name] = module
            exec(compile(text, f"<official {name}>", "exec", dont_inherit=True), vars(module))
            fresh.append(module)
        yield fresh
    finally:
        for name, module in imported.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _limit(memory: int) -> None:
    """Limits data (bytes; on Linux), files and core dumps of this process and of its children."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: MAX_FILE_BYTES}
    if sys.platform == "linux":
        # Not the address space: CUDA and thread arenas reserve far more of it than they use.
        limits[resource.RLIMIT_DATA] = memory
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    os.umask(0o077)
    main(sys.argv[1], int(sys.argv[2]))
