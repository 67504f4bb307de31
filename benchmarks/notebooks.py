"""How long each solution notebook runs, how much memory it takes, and how soon it reads a page.

Students run these on laptops with two cores; what nbval has to sit through, everybody waits for.
Each notebook runs in a kernel of its own, started where JupyterLab would start it. The memory is
that of the kernel and of all processes below it at once, looked at ten times a second.

Run it on an otherwise idle machine:

    python benchmarks/notebooks.py
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from tqdm.auto import tqdm

from lab_authoring.kernel import kernel_environment
from text_recognizer.places import project_folder

SOLUTIONS = project_folder() / "notebooks" / "solutions"
MOST_SECONDS = 120.0  # all notebooks together
MOST_MEMORY_MB = 2000.0
MOST_STORED_MB = 1.0
FIRST_TEXT = (".predict(", ".read(")  # what a cell that reads a page calls


class PeakMemory(threading.Thread):
    """The most memory in MB that a process and its children had at one time."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak_mb = psutil.Process(pid), 0.0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            total = 0
            try:
                for process in [self.process, *self.process.children(recursive=True)]:
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # a child has just ended: look again
            self.peak_mb = max(self.peak_mb, total / 1e6)


def measure(path: Path) -> dict[str, float | str]:
    """Runs one notebook; raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}
    )
    first_text: list[float] = []
    bar = tqdm(total=cells, desc=path.stem, unit="cell", file=sys.stderr)

    def executed(cell: nbformat.NotebookNode, **_: object) -> None:
        bar.update()
        if not first_text and any(call in cell.source for call in FIRST_TEXT):
            first_text.append(time.perf_counter() - began)

    client.on_cell_executed = executed
    began = time.perf_counter()
    with bar, client.setup_kernel(env=kernel_environment()):
        memory = PeakMemory(client.km.provisioner.pid)
        memory.start()
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        seconds = time.perf_counter() - began
        memory.ended.set()
        memory.join()
    return {
        "notebook": path.stem,
        "seconds": round(seconds, 1),
        "first_text_seconds": round(first_text[0], 1) if first_text else None,
        "peak_mb": round(memory.peak_mb),
        "stored_mb": round(path.stat().st_size / 1e6, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="else all solutions")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(SOLUTIONS.glob("*.ipynb"))
    rows = [measure(path) for path in paths]
    print(f"{'notebook':<36}{'seconds':>9}{'first text':>12}{'peak MB':>9}{'stored MB':>11}")
    for row in rows:
        first = row["first_text_seconds"]
        print(
            f"{row['notebook']:<36}{row['seconds']:>9}{first if first else '-':>12}"
            f"{row['peak_mb']:>9}{row['stored_mb']:>11}"
        )
    reached = (
        sum(row["seconds"] for row in rows) <= MOST_SECONDS
        and all(row["peak_mb"] <= MOST_MEMORY_MB for row in rows)
        and all(row["stored_mb"] <= MOST_STORED_MB for row in rows)
    )
    print(json.dumps({"benchmark": "notebooks", "notebooks": rows, "reached": reached}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
