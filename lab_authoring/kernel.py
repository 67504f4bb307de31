"""Runs notebooks in a kernel of this interpreter, and keeps Jupyter out of the home folder.

Jupyter, IPython and Matplotlib write settings, histories and caches wherever they may.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from text_recognizer.errors import RecognizerError
from text_recognizer.places import lab_folder, matplotlib_folder

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode


class CellError(RecognizerError):
    """A cell failed or ran too long; `index` is its place among all cells, from 0."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


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
    on_cell: Callable[[int], None] | None = None,
) -> None:
    """Runs all cells in a new kernel and fills in their outputs and counts.

    Args:
        folder: the kernel's working folder.
        cell_timeout: s for each cell.
        on_cell: gets the index of each code cell before it runs.

    Raises CellError at the first cell that stops with an error, unless its tags allow that.
    No kernel is left behind, also after Ctrl-C.
    """
    asyncio.run(_run(notebook, folder, cell_timeout, on_cell))


async def _run(
    notebook: "NotebookNode",
    folder: Path,
    cell_timeout: float,
    on_cell: Callable[[int], None] | None,
) -> None:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    async with _kernel(notebook, folder, cell_timeout) as client:
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            if on_cell:
                on_cell(index)
            try:
                await client.async_execute_cell(cell, index)
            except CellExecutionError as error:
                raise CellError(f"stopped with {error.ename}: {error.evalue}", index) from None
            except CellTimeoutError:
                raise CellError(f"ran longer than {cell_timeout:g} s", index) from None
            except DeadKernelError:
                # nbclient takes Ctrl-C, by which asyncio cancels this task, for a dead kernel.
                if asyncio.current_task().cancelling():
                    raise asyncio.CancelledError from None
                raise CellError("ended the kernel", index) from None


@asynccontextmanager
async def _kernel(
    notebook: "NotebookNode", folder: Path, cell_timeout: float
) -> AsyncIterator["NotebookClient"]:
    """nbclient's client with a running kernel of this interpreter, which ends with the context.

    nbclient's own context would take Ctrl-C for itself, and miss it while the kernel starts.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    environment = {**kernel_environment(), "LAB_BUILDING": "1"}
    runtime = Path(environment["JUPYTER_RUNTIME_DIR"])
    runtime.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=runtime) as connection:
        manager = AsyncKernelManager(
            # Looked up nowhere: a kernelspec python3 of the user may name another interpreter.
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=f"{connection}/kernel.json",
        )
        client = NotebookClient(notebook, km=manager, timeout=cell_timeout, record_timing=False)
        try:
            # The kernel itself logs to stderr; what cells write there comes as output.
            await client.async_start_new_kernel(
                cwd=str(folder), env=environment, stderr=subprocess.DEVNULL
            )
            await client.async_start_new_kernel_client()
            yield client
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)
