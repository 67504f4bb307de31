"""TensorBoard over a profile's traces with the plugin torch-tb-profiler, and the plugin's figures.

The plugin's page loads its charts from the internet; its figures can be had without the page.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from lab_utils.net import LOOPBACK
from lab_utils.process import kept
from lab_utils.profiling.profile import ProfileError


def serve_traces(folder: Path, port: int | None = None) -> None:
    """Runs TensorBoard on 127.0.0.1 until Ctrl-C; it prints its address itself.

    Args:
        folder: what holds the traces, at any depth; each folder with a trace is a run.
        port: 0 for a free one; None for 6006, or one above if that is taken.

    Raises ProfileError if the folder holds no trace, a package is missing, or TensorBoard ends by
    itself, which says why on stderr.
    """
    if not any(folder.rglob("*.pt.trace.json*")):
        raise ProfileError(f"There is no trace in {folder}; take a profile with `lab profile`.")
    needs("tensorboard", "torch_tb_profiler")
    print(
        "The page PYTORCH_PROFILER asks the internet for its charts. Without a network its figures "
        "are in the plots and tables of `lab profile`. Ctrl-C ends TensorBoard.",
        flush=True,
    )
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host", LOOPBACK, "--port", "default" if port is None else str(port)]
    # The plugin makes sockets in the folder for temporary files, whose paths have to be short.
    with (
        tempfile.TemporaryDirectory(prefix="lab-tb-") as scratch,
        kept(command, env={**os.environ, "TMPDIR": scratch}) as process,
    ):
        process.wait()
    raise ProfileError("TensorBoard has ended; the lines above say why. Try another --port.")


def plugin_operators(trace: Path) -> dict[str, float]:
    """s of the processor in each operator without those within it, as the plugin computes it, the
    longest first. Raises ProfileError if the plugin is not installed."""
    needs("torch_tb_profiler")
    from torch_tb_profiler.profiler.data import RunProfileData

    with tempfile.TemporaryDirectory(prefix="lab-tb-") as scratch:
        found = RunProfileData.parse("", "", str(trace), scratch).op_list_groupby_name
    times = {one.name: one.self_host_duration / 1e6 for one in found}
    return dict(sorted(times.items(), key=lambda pair: -pair[1]))


def needs(*modules: str) -> None:
    """Raises ProfileError if a package is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            raise ProfileError(
                f"The package {package} is missing; `pip install {package}` adds it."
            )
