"""Which outputs a stored notebook may have: those that are the same at every run on any machine.

What can be made so is made so; the rest is refused with the place of the cell that made it.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from text_recognizer.places import PROJECT, lab_folder

if TYPE_CHECKING:
    from nbformat import NotebookNode

MOST_BYTES = 1_000_000
WIDGET = "application/vnd.jupyter.widget-view+json"
EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
FOLDERS = ("/home", "/Users", "/root", "/tmp", "/var/folders", "C:\\Users")
"""Where paths of anybody's machine start; this machine's own come on top."""


def has_tag(cell: "NotebookNode", tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def normalize(notebook: "NotebookNode") -> None:
    """Brings the outputs of a notebook that has run into the one form that is stored."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)  # when it ran
        outputs: list[NotebookNode] = []
        for output in [] if has_tag(cell, "timing") else cell.outputs:
            last = outputs[-1] if outputs else {}
            # The kernel cuts what is printed into pieces by the clock.
            if output.output_type == "stream" and output.name == last.get("name"):
                last.text += output.text
                continue
            output.pop("transient", None)
            outputs.append(output)
        cell.outputs = outputs


def as_text(notebook: "NotebookNode") -> str:
    """The notebook as its file holds it."""
    from nbformat import v4

    return v4.writes(notebook) + "\n"


def problems(notebook: "NotebookNode") -> Iterator[tuple[int, str]]:
    """What is wrong with the outputs of a notebook that has run: index of the cell, what to do."""
    size = len(as_text(notebook).encode())
    if size > MOST_BYTES:
        yield _too_large(notebook, size)
    count = 0
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count != count:
            yield index, f"was run as number {cell.execution_count}, not {count}"
        if has_tag(cell, "timing") and cell.outputs:
            yield index, "has the tag timing, and so stores no outputs"
        for output in cell.outputs:
            yield from ((index, what) for what in _problems_of(output, cell))


def _problems_of(output: "NotebookNode", cell: "NotebookNode") -> Iterator[str]:
    if output.output_type == "error" and not has_tag(cell, "raises-exception"):
        yield f"stopped with {output.ename}: {output.evalue}"
    if output.output_type == "stream" and output.name != "stdout":
        yield f"wrote to stderr, which no output may show: {_start(output.text)}"
        return
    if WIDGET in output.get("data", {}):
        yield "shows a widget, which a stored notebook cannot keep: give it the tag timing"
    text = EMBEDDED.sub("", COLOURS.sub("", "\n".join(_texts(output))))
    path = _paths().search(text)
    if path:
        yield f"shows a path of this machine: {_start(text[path.start() :])}"
    address = ADDRESS.search(text)
    if address:
        yield f"shows a memory address ({address[0]}): print what matters of the object"


def _texts(output: "NotebookNode") -> Iterator[str]:
    """Everything in an output that a reader sees as text."""
    yield from (output.get(key, "") for key in ("text", "ename", "evalue"))
    yield from output.get("traceback", ())
    for kind, value in output.get("data", {}).items():
        if not kind.startswith("image/") or kind == "image/svg+xml":
            yield value if isinstance(value, str) else repr(value)


def _paths() -> re.Pattern:
    """Matches the start of a path below one of the folders that differ between machines."""
    own = (PROJECT, lab_folder(), Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix))
    # In a container the home folder may be the root, which says nothing.
    folders = {str(p) for one in own for p in (one.absolute(), one.resolve()) if len(p.parts) > 1}
    names = "|".join(re.escape(folder) for folder in sorted({*FOLDERS, *folders}))
    return re.compile(rf"(?<![\w.\-])(?:{names})(?![\w\-])")


def _start(text: str) -> str:
    line = text.strip().split("\n")[0]
    return line if len(line) <= 80 else line[:80] + "..."


def _too_large(notebook: "NotebookNode", size: int) -> tuple[int, str]:
    """The index of the cell with the largest outputs, and what to do."""
    sizes = [len(repr(cell.get("outputs", ""))) for cell in notebook.cells]
    index = sizes.index(max(sizes))
    return index, (
        f"has {sizes[index] / 1e6:.1f} MB of outputs and the notebook {size / 1e6:.1f}, "
        f"at most {MOST_BYTES / 1e6:g} MB: show smaller pictures"
    )
