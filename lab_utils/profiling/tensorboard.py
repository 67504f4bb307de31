"""TensorBoard over a profile's traces, with the plugin torch-tb-profiler: as a page, and as tables.

The plugin's page loads its charts from the internet; its tables come as JSON from this machine.
"""

import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab_utils.net import LOOPBACK, http_client, listening_socket
from lab_utils.process import end_kept, start_kept
from lab_utils.profiling.folder import ProfileError, trace_paths

DEFAULT_PORT = 6006
PLUGIN_NOTE = (
    "The plugin's page asks the internet for its charts. Without a network its figures are in the "
    "plots and tables of `lab profile`, and in the plugin's own tables: plugin_tables in "
    "lab_utils.profiling.tensorboard."
)
_SECONDS = 60.0
_PACKAGES = {"tensorboard": "tensorboard", "torch_tb_profiler": "torch-tb-profiler"}


class TensorBoard:
    """TensorBoard in a process of its own, on 127.0.0.1; a context manager that runs it.

    Args:
        folder: what holds the traces, at any depth; each folder with a trace is a run.
        port: None for DEFAULT_PORT, or a free one if that is taken.

    Raises ProfileError, on entering, if the folder holds no trace, a package is missing, the port
    is taken, or it does not start.
    """

    def __init__(self, folder: str | os.PathLike, port: int | None = None) -> None:
        self._folder, self._wanted = Path(folder), port

    def __enter__(self) -> "TensorBoard":
        _check(self._folder)
        with listening_socket(self._wanted, error=_PortError, preferred=DEFAULT_PORT) as free:
            port = free.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{port}/"
        # For its log and the plugin's sockets, whose paths have to be short.
        self._scratch = tempfile.TemporaryDirectory(prefix="lab-tb-")
        self._log = Path(self._scratch.name, "log.txt")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self._folder)]
        # The fast loader is a second server, for event files, of which there are none.
        command += ["--host", LOOPBACK, "--port", str(port), "--load_fast", "false"]
        environment = {**os.environ, "TMPDIR": self._scratch.name}
        with self._log.open("wb") as log:
            self._process = start_kept(command, stdout=log, stderr=log, env=environment)
        try:
            self._runs(_SECONDS)
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
        """The plugin's answer to a GET request, from JSON; raises ProfileError without one."""
        import httpx

        try:
            with http_client(_SECONDS, local=True, base_url=self.url) as client:
                answer = client.get(f"data/plugin/pytorch_profiler{route}", params=query)
                return answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProfileError(
                f"The plugin does not answer {route} ({error}); try again."
            ) from None

    def tables(self) -> dict[str, dict[str, Any]]:
        """The plugin's tables of all runs, once it has read their traces."""
        return {run: self._tables(run) for run in self._runs(5 * _SECONDS, loaded=True)}

    def _runs(self, seconds: float, loaded: bool = False) -> list[str]:
        """The runs that the plugin knows, as soon as it answers, or has loaded all of them."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ProfileError(f"TensorBoard did not start: {self._last_words()}")
            try:
                known = self.ask("/runs")
            except ProfileError:
                known = None  # it is still starting
            if known and (not loaded or known["runs"] and not known["loading"]):
                return known["runs"]
            time.sleep(0.1)
        raise ProfileError(f"TensorBoard was not ready after {seconds:.0f} s; try again.")

    def _tables(self, run: str) -> dict[str, Any]:
        worker = self.ask("/workers", run=run, view="Overview")[0]
        span = self.ask("/spans", run=run, worker=worker)[0]
        place = {"run": run, "worker": worker, "span": span}
        return {
            "overview": self.ask("/overview", **place),
            "operators": self.ask("/operation/table", **place, group_by="Operation"),
        }

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip()[:300] for line in lines[::-1] if line.strip()), "no message.")


def plugin_tables(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """The plugin's own tables of all the traces in a folder, without a browser.

    Returns for each run (a folder with a trace, such as "batch_size_01") the plugin's JSON:
    "overview" (times of the step by kind, and a GPU's figures if there is one) and "operators" (as
    `operator_rows` takes it). Raises what `TensorBoard` does.
    """
    with TensorBoard(folder, port=0) as board:
        return board.tables()


def operator_rows(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the plugin's operator table of a run, the longest first: "name", "calls",
    "host_self_duration" and "host_total_duration" in µs, and more if there is a GPU."""
    return sorted(tables["operators"]["data"], key=lambda row: -row["host_self_duration"])


class _PortError(ProfileError):
    def __init__(self, message: str) -> None:
        super().__init__(message.replace("another port", "another --port"))


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise ProfileError(f"There is no folder {folder}; take a profile with `lab profile`.")
    if not trace_paths(folder):
        raise ProfileError(f"{folder} holds no trace; take a profile with `lab profile`.")
    for module, name in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise ProfileError(
                f"The package {name} is missing; install it with `pip install {name}`."
            )
