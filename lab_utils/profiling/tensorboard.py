"""TensorBoard over a profile's traces, with the plugin torch-tb-profiler: as a page, and as tables.

The plugin's page loads its charts from the internet; its tables come as JSON from this machine.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from pathlib import Path
from typing import Any

from lab_utils.process import end_kept, start_kept
from lab_utils.profiling.folder import ProfileError, trace_paths

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 6006
PLUGIN = "/data/plugin/pytorch_profiler"

PLUGIN_NOTE = (
    "The plugin's page asks the internet for its charts. Without a network its figures are in the "
    "plots and tables of `lab profile`, and in the plugin's own tables: plugin_tables in "
    "lab_utils.profiling.tensorboard."
)

_START_SECONDS = 60.0
_LOAD_SECONDS = 300.0


class TensorBoard:
    """TensorBoard in a process of its own, on 127.0.0.1; a context manager that runs it.

    Args:
        folder: what holds the traces, at any depth; each folder with a trace is a run.
        port: None for DEFAULT_PORT, or a free one where that is taken.

    Raises:
        ProfileError: on entering, if the folder holds no trace, a package is missing, the port is
            taken, or it does not start.
    """

    def __init__(self, folder: str | os.PathLike, port: int | None = None) -> None:
        self._folder, self._wanted = Path(folder), port
        self.port = 0
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/"

    def __enter__(self) -> "TensorBoard":
        _check(self._folder)
        self.port = _free_port(self._wanted)
        # For its log, and what the plugin puts down: sockets, too, whose paths have to be short.
        self._scratch = tempfile.TemporaryDirectory(prefix="lab-tb-")
        self._log = Path(self._scratch.name) / "log.txt"
        try:
            self._process = self._spawn()
            self._wait_for_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end_kept(self._process)
        self._scratch.cleanup()

    def wait(self) -> None:
        """Returns when TensorBoard has ended by itself, which it does only if it fails."""
        self._process.wait()
        raise ProfileError(f"TensorBoard has ended: {self._last_words()}")

    def ask(self, route: str, **query: str) -> Any:
        """The plugin's answer to a GET request, from JSON.

        Raises:
            ProfileError: it answers with an error, or not at all.
        """
        address = f"{self.url.rstrip('/')}{PLUGIN}{route}?{urllib.parse.urlencode(query)}"
        # Not through a proxy: it would look for 127.0.0.1 on its own machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(address, timeout=_START_SECONDS) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise ProfileError(
                f"The plugin does not answer {route} ({error}); try again."
            ) from None

    def _spawn(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self._folder)]
        command += ["--host", LOOPBACK, "--port", str(self.port)]
        # The fast loader is a second server, for event files, of which there are none.
        command += ["--load_fast", "false"]
        environment = {**os.environ, "TMPDIR": self._scratch.name}
        with self._log.open("wb") as log:
            # The plugin reads each trace in a process of its own: none of them outlives this one.
            return start_kept(command, stdout=log, stderr=log, env=environment)

    def _wait_for_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ProfileError(f"TensorBoard did not start: {self._last_words()}")
            try:
                self.ask("/runs")
                return
            except ProfileError:
                time.sleep(0.05)
        raise ProfileError(f"TensorBoard did not start in {_START_SECONDS:.0f} s; try again.")

    def _last_words(self) -> str:
        with self._log.open(errors="replace") as log:
            last = deque((line.strip() for line in log if line.strip()), maxlen=1)
        return last[0][:300] if last else "it says nothing."


def plugin_tables(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """The plugin's own tables of all the traces in a folder, without a browser.

    Returns for each run (a folder with a trace, such as "batch_size_01") the plugin's JSON:
    "overview" (times of the step by kind, and a GPU's figures where there is one) and "operators"
    (as `operator_rows` takes it).

    Raises:
        ProfileError: the folder holds no trace, a package is missing, or the plugin fails.
    """
    with TensorBoard(folder, port=0) as board:
        return {run: _tables(board, run) for run in _loaded_runs(board)}


def operator_rows(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the plugin's operator table of a run, the longest first: "name", "calls",
    "host_self_duration" and "host_total_duration" in µs, and more where there is a GPU."""
    rows = tables["operators"]["data"]
    return sorted(rows, key=lambda row: -row["host_self_duration"])


def _tables(board: TensorBoard, run: str) -> dict[str, Any]:
    worker = board.ask("/workers", run=run, view="Overview")[0]
    span = board.ask("/spans", run=run, worker=worker)[0]
    place = {"run": run, "worker": worker, "span": span}
    return {
        "overview": board.ask("/overview", **place),
        "operators": board.ask("/operation/table", **place, group_by="Operation"),
    }


def _loaded_runs(board: TensorBoard) -> list[str]:
    deadline = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < deadline:
        told = board.ask("/runs")
        if told["runs"] and not told["loading"]:
            return told["runs"]
        time.sleep(0.2)
    raise ProfileError("The plugin did not read the traces in time; give it fewer of them.")


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise ProfileError(f"There is no folder {folder}; take a profile with `lab profile`.")
    if not trace_paths(folder):
        raise ProfileError(f"{folder} holds no trace; take a profile with `lab profile`.")
    for package, name in (
        ("tensorboard", "tensorboard"),
        ("torch_tb_profiler", "torch-tb-profiler"),
    ):
        if importlib.util.find_spec(package) is None:
            raise ProfileError(
                f"The package {name} is missing; install it with `pip install {name}`."
            )


def _free_port(wanted: int | None) -> int:
    """The port asked for, if nobody listens there; TensorBoard would take long to say so."""
    for port in [DEFAULT_PORT, 0] if wanted is None else [wanted]:
        try:
            with socket.create_server((LOOPBACK, port)) as listening:
                return listening.getsockname()[1]
        except OSError as error:
            reason = error.strerror
    raise ProfileError(f"{LOOPBACK}:{wanted} is taken ({reason}); give another --port.")
