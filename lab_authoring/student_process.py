"""The program in which a student's cells and the official checks run: IPython without Jupyter,
within limits. The checks run here because the student's function is here.

    python -m lab_authoring.student_process JOB.json

The job has `steps`, each with the `code` of a cell or the `name` of a function to check; `checks`,
the file of the official checks; and `memory_mib`. For each step, the program prints its result and
a message as a line of JSON.
"""

import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

MAX_FILE_BYTES = 2**30
MAX_MESSAGE = 1000  # characters


def main(job: dict[str, Any]) -> None:
    """Runs the steps of a job; what the student's code prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit(job["memory_mib"] * 2**20)
    official = _official_checks(Path(job["checks"]))
    # The student's own calls of checks do nothing: none ends a cell, none replaces a function.
    idle = MagicMock(go_on=lambda name, function=None: function)
    own, shell = os.getpid(), _shell()
    shell.user_ns["checks"] = sys.modules[official.__name__] = idle
    for step in job["steps"]:
        if "code" in step:
            result, message = cell = _run_cell(shell, step["code"])
        elif step["name"] in shell.user_ns:
            try:
                getattr(official, step["name"])(shell.user_ns[step["name"]])
                result, message = "passed", ""
            except BaseException as error:
                result, message = "failed", str(error)
        else:
            how = f"stopped with {cell[1]}" if cell[1] else "ended"
            result, message = "failed", f"its cell {how} before {step['name']} was defined"
        if os.getpid() != own:  # a process that the student's code forked
            os._exit(0)
        print(json.dumps([result, message[:MAX_MESSAGE]]), file=replies, flush=True)


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


def _shell() -> Any:
    """IPython's shell, which knows magics, `!command` and `await`."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.xmode = "Minimal"  # nobody reads the tracebacks
    InteractiveShell.ask_exit = sys.exit  # exit() and quit() end their cell
    return InteractiveShell.instance(config=config)


def _run_cell(shell: Any, code: str) -> tuple[str, str]:
    ended = shell.run_cell(code, store_history=True)
    error = ended.error_before_exec or ended.error_in_exec
    if isinstance(error, MemoryError):  # the traceback keeps what filled the memory
        return "out of memory", "its cell took too much memory: see --memory"
    if error is not None:
        # Above the error's own line there may be code, which is indented; below it, notes.
        lines = traceback.format_exception_only(error)
        return "failed", next(line.strip() for line in lines if line[0] != " ")
    return "ok", ""


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
