"""Runs notebooks in a kernel of this interpreter, and keeps Jupyter out of the home folder.

Jupyter, IPython and Matplotlib write settings, histories and caches wherever they may. nbclient
runs in a separate process, this file: whatever ends ours, it and its kernel end as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab_utils.process import kept
from text_recognizer.places import PROJECT, lab_folder, matplotlib_folder

if TYPE_CHECKING:
    from nbformat import NotebookNode


class CellError(Exception):
    """A cell failed or ran too long: its index among all cells, from 0, and how it ended."""


def kernel_environment() -> dict[str, str]:
    """The environment of this process, with Jupyter's, IPython's and Matplotlib's folders in .lab.

    It is for a process that starts kernels as well as for the kernel itself.
    """
    lab = lab_folder().resolve()
    return {
        **os.environ,
        "IPYTHONDIR": str(lab / "ipython"),
        "JUPYTER_CONFIG_DIR": str(lab / "jupyter" / "config"),
        "JUPYTER_DATA_DIR": str(lab / "jupyter" / "data"),
        "JUPYTER_RUNTIME_DIR": str(lab / "jupyter" / "runtime"),
        "MPLCONFIGDIR": str(matplotlib_folder()),
    }


def run_notebook(
    notebook: "NotebookNode",
    folder: Path,
    cell_timeout: float,
    on_cell: Callable[[int], None] = lambda index: None,
) -> "NotebookNode":
    """Runs all cells in a new kernel; returns the notebook with their outputs and counts.

    Args:
        folder: the kernel's working folder.
        cell_timeout: s for each cell.
        on_cell: gets the index of each code cell before it runs.

    Raises CellError at the first cell that stops with an error, unless its tags allow that.
    """
    import nbformat

    runtime = lab_folder().resolve() / "jupyter" / "runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=runtime) as place:
        file = Path(place, "notebook.ipynb")
        nbformat.write(notebook, file)
        # Looked up nowhere else: a kernelspec python3 of the user may name another interpreter.
        own = {"JUPYTER_DATA_DIR": place, "JUPYTER_RUNTIME_DIR": place, "LAB_BUILDING": "1"}
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
        with kept(
            [sys.executable, "-m", "lab_authoring.kernel", str(file), str(cell_timeout)],
            cwd=folder,
            env=kernel_environment() | own | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            index = 0
            for line in process.stdout:
                said = json.loads(line)
                if isinstance(said, str):
                    raise CellError(index, said)
                index = said
                on_cell(index)
            if process.wait():
                raise CellError(index, "ended nbclient's process")
        return nbformat.read(file, as_version=4)


def main(file: Path, cell_timeout: float) -> None:
    """Runs a notebook in place; prints the index of each code cell, and how one failed, as JSON."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    def on_cell(cell: "NotebookNode", cell_index: int) -> None:
        if cell.cell_type == "code":
            print(cell_index, flush=True)

    notebook = nbformat.read(file, as_version=4)
    # Its coalesce_streams takes minutes for a line of a megabyte.
    client = NotebookClient(
        notebook, timeout=cell_timeout, record_timing=False, on_cell_start=on_cell
    )
    try:
        client.execute(stderr=subprocess.DEVNULL)  # the kernel's own log
        nbformat.write(notebook, file)
    except CellExecutionError as error:
        print(json.dumps(f"stopped with {error.ename}: {error.evalue}"))
    except CellTimeoutError:
        print(json.dumps(f"ran longer than {cell_timeout:g} s"))
    except DeadKernelError:
        print(json.dumps("ended the kernel"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
