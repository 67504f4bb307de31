"""TensorBoard over a profile's traces with the plugin torch-tb-profiler, and the plugin's figures.

The plugin's page loads its charts from the internet; what it computes can be had without the page.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab_utils.net import LOOPBACK, http_client, listening_socket
from lab_utils.process import kept
from lab_utils.profiling.folder import ProfileError, trace_paths

DEFAULT_PORT = 6006
PLUGIN_NOTE = (
    "The plugin's page asks the internet for its charts. Without a network its figures are in the "
    "plots and tables of `lab profile`, and in lab_utils.profiling.tensorboard.plugin_operators."
)
_SECONDS = 60.0


def serve_traces(folder: Path, port: int | None = None) -> None:
    """Runs TensorBoard on 127.0.0.1 until Ctrl-C, and prints where.

    Args:
        folder: what holds the traces, at any depth; each folder with a trace is a run.
        port: None for DEFAULT_PORT, or a free one if that is taken.

    Raises ProfileError if the folder holds no trace, a package is missing, the port is taken, or
    TensorBoard ends by itself.
    """
    if not trace_paths(folder):
        raise ProfileError(f"There is no trace in {folder}; take a profile with `lab profile`.")
    _needs("tensorboard", "tensorboard")
    _needs("torch_tb_profiler", "torch-tb-profiler")
    with listening_socket(port, error=_PortError, preferred=DEFAULT_PORT) as free:
        port = free.getsockname()[1]
    # The fast loader is a second server, for event files, of which there are none.
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host", LOOPBACK, "--port", str(port), "--load_fast", "false"]
    # The plugin makes sockets in the folder for temporary files, whose paths have to be short.
    with tempfile.TemporaryDirectory(prefix="lab-tb-") as scratch, tempfile.TemporaryFile() as log:
        environment = {**os.environ, "TMPDIR": scratch}
        with kept(command, stdout=log, stderr=log, env=environment) as process:
            if _answers(process, port):
                print(f"TensorBoard shows the traces at http://{LOOPBACK}:{port}/#pytorch_profiler")
                print(f"{PLUGIN_NOTE}\nCtrl-C ends it.", flush=True)
                process.wait()
        log.seek(0)
        lines = log.read().decode(errors="replace").split("\n")
    words = next((line.strip()[:300] for line in lines[::-1] if line.strip()), "no message.")
    raise ProfileError(f"TensorBoard has ended: {words}")


def plugin_operators(trace: Path) -> dict[str, float]:
    """s of the processor in each operator without those within it, as the plugin computes it, the
    longest first. Raises ProfileError if the plugin is not installed."""
    _needs("torch_tb_profiler", "torch-tb-profiler")
    from torch_tb_profiler.profiler.data import RunProfileData

    with tempfile.TemporaryDirectory(prefix="lab-tb-") as scratch:
        found = RunProfileData.parse("", "", str(trace), scratch).op_list_groupby_name
    times = {one.name: one.self_host_duration / 1e6 for one in found}
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))


def _answers(process: subprocess.Popen, port: int) -> bool:
    """Whether the plugin answers within _SECONDS; False as soon as the process has ended."""
    import httpx

    deadline = time.monotonic() + _SECONDS
    url = f"http://{LOOPBACK}:{port}/data/plugin/pytorch_profiler/runs"
    while process.poll() is None and time.monotonic() < deadline:
        with http_client(_SECONDS, local=True) as client:
            try:
                if client.get(url).is_success:
                    return True
            except httpx.HTTPError:
                time.sleep(0.1)  # it is still starting
    return False


class _PortError(ProfileError):
    def __init__(self, message: str) -> None:
        super().__init__(message.replace("another port", "another --port"))


def _needs(module: str, package: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ProfileError(f"The package {package} is missing; `pip install {package}` adds it.")
