"""Where a student's notebook runs: one process within limits, in a throw-away copy of the project,
without the instructor's secrets, settings and home folder.
"""

import asyncio
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab_utils.process import kept
from text_recognizer.places import PROJECT, lab_folder

COPIED = "pyproject.toml constraints.txt data lab_tracker lab_utils text_recognizer".split()
"""All that a notebook may open; not the sources and solutions of notebooks."""
SPARED = ("models", "cache/matplotlib")
"""Below .lab: what a notebook would make again, in seconds, if it were not there."""
PASSED_ON = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|TERM|VIRTUAL_ENV|CONDA_PREFIX|LD_LIBRARY_PATH"
    r"|CUDA_\w+|NVIDIA_\w+|\w+_NUM_THREADS"
)
"""Variables that are passed on. Naming these, not the secrets, also keeps out unknown secrets."""
LOOK_EVERY = 0.25  # s
SLACK = 1.25
"""One process gets a MemoryError at the limit; all together are ended at this many times it."""
MAX_PROCESSES = 100


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    cell_timeout: float = 60.0
    """s for each cell and each check; then the process is killed."""
    total_timeout: float = 600.0
    """s for the notebook."""
    memory_mib: int = 4096
    """Of data, for each process of a notebook."""


@dataclass(frozen=True)
class Ending:
    """How a step ended."""

    result: str
    """Of a cell: "ok" or "failed"; of a check: "passed" or "failed"; of both: "timed out", "out of
    memory", "died" or "not reached" (the notebook's time was over)."""
    message: str = ""

    @property
    def alive(self) -> bool:
        """Whether the process, and with it all that was defined, is still there."""
        return self.result in ("ok", "passed", "failed")


@contextmanager
def workplace(project: Path) -> Iterator[Path]:
    """A folder with a copy of what notebooks use of a project; it is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for name in ("project/notebooks", "home", "tmp"):
            (root / name).mkdir(parents=True)
        copies = {project / name: root / "project" / name for name in COPIED}
        copies |= {lab_folder() / name: root / "project" / ".lab" / name for name in SPARED}
        for source, target in copies.items():
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                shutil.copyfile(source, target)
        yield root


async def run_steps(
    root: Path, job: dict, limits: Limits, deadline: float
) -> AsyncIterator[tuple[dict, Ending]]:
    """Runs the steps of a job in a new process: each with its ending, up to one that ends it.

    Args:
        root: of the workplace.
        job: as `student_process` takes it.
        deadline: of the notebook, on the monotonic clock.
    """
    file = root / "job.json"
    file.write_text(json.dumps(job | {"memory_mib": limits.memory_mib}), encoding="utf-8")
    with kept(
        [sys.executable, "-m", "lab_authoring.student_process", str(file)],
        cwd=root / "project" / "notebooks",
        env=_environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        replies = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(replies), process.stdout
        )
        try:
            # The first step is the start of Python and the set-up.
            seconds = max(60.0, limits.cell_timeout)
            for step in job["steps"]:
                left = deadline - time.monotonic()
                ending = await _ending(process.pid, replies, step, seconds, limits, left)
                yield step, ending
                if not ending.alive:
                    return
                seconds = limits.cell_timeout
        finally:
            pipe.close()


async def _ending(
    pid: int, replies: asyncio.StreamReader, step: dict, seconds: float, limits: Limits, left: float
) -> Ending:
    """Waits for the reply to a step, or for a limit; `left` are the seconds of the notebook."""
    what = "its check" if "name" in step else "its cell"
    end = time.monotonic() + min(seconds, left)
    while time.monotonic() < end:
        try:
            async with asyncio.timeout(LOOK_EVERY):
                line = await replies.readline()
            if not line:
                return Ending("died", f"{what} ended the Python process")
            result, message = map(str, json.loads(line))
            return Ending(result, message)
        except TimeoutError:
            if excess := _excess(pid, what, limits.memory_mib):
                return excess
        except (ValueError, TypeError, RecursionError):  # the student's code wrote there, too
            return Ending("died", f"{what} wrote to the pipe that grading reads")
    if left <= seconds:
        over = f"the notebook ran longer than {limits.total_timeout:g} s before"
        return Ending("not reached", over)
    return Ending("timed out", f"{what} ran longer than {limits.cell_timeout:g} s")


def _excess(pid: int, what: str, memory_mib: int) -> Ending | None:
    """Which limit all processes of a notebook together have exceeded, if any."""
    import psutil

    used, processes = 0, []
    with suppress(psutil.Error):
        processes = psutil.Process(pid).children(recursive=True)
    if len(processes) > MAX_PROCESSES:
        return Ending("died", f"{what} started more than {MAX_PROCESSES} processes")
    for one in processes:
        with suppress(psutil.Error):
            memory = one.memory_full_info()
            # On Linux, each process's share of what forked processes have in common.
            used += getattr(memory, "pss", memory.uss)
    if used > SLACK * memory_mib * 2**20:
        return Ending("out of memory", f"{what} took too much memory: see --memory")
    return None


def _environment(root: Path) -> dict[str, str]:
    # The copy comes first; what it lacks, and the program of the process, come from the lab itself.
    python_path = [str(root / "project"), str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)},
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "PYTHONUSERBASE": site.getuserbase(),  # packages of `pip install --user`
        "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
        "LAB_HOME": str(root / "project" / ".lab"),
        "IPYTHONDIR": str(root / "home" / "ipython"),
        "MPLBACKEND": "agg",  # draws, and opens no window
    }
