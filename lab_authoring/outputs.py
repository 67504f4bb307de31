"""Which outputs a stored notebook may not have: what is known to differ between runs or machines,
and what is too large. Each is refused with the place of the cell that made it.
"""

import json
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
PAYLOAD = re.compile(r'data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*|"image/(?!svg)[\w.+-]+": "[^"]*"')
FOLDERS = ("/home", "/Users", "/root", "/tmp", "/var/folders", "C:\\Users")
"""Where paths of anybody's machine start; this machine's own come on top."""


def merged(outputs: list["NotebookNode"]) -> list["NotebookNode"]:
    """Outputs with what is printed in one piece; the kernel cuts it by the clock."""
    found: list[NotebookNode] = []
    for output in outputs:
        if found and "name" in output and output.name == found[-1].get("name"):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def as_text(notebook: "NotebookNode") -> str:
    """The notebook as its file holds it."""
    from nbformat import v4

    return v4.writes(notebook) + "\n"


def problems(notebook: "NotebookNode") -> Iterator[tuple[int, str]]:
    """What is wrong with the outputs of a notebook that has run: index of the cell, what to do."""
    refused = {
        r'"name": "stderr"': "wrote to stderr, which no output may show",
        r"vnd\.jupyter\.widget-view": "shows a widget: give it the tag timing, and store none",
        r"\bat 0x[0-9a-fA-F]{4,}": "shows a memory address: print what matters of the object",
        _paths(): "shows a path of this machine",
    }
    for index, cell in enumerate(notebook.cells):
        text = json.dumps(cell.get("outputs"), ensure_ascii=False)
        if len(text) > MOST_BYTES:
            yield index, f"has {len(text) / 1e6:.1f} MB of outputs: show smaller pictures"
        text = PAYLOAD.sub("", text)
        for pattern, what in refused.items():
            if found := re.search(pattern, text):
                yield index, f"{what}: {text[found.start() :][:80]}"
                break


def _paths() -> str:
    """Matches the start of a path below one of the folders that differ between machines."""
    own = (PROJECT, lab_folder(), Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix))
    # In a container the home folder may be the root, which says nothing.
    folders = {str(p) for one in own for p in (one.absolute(), one.resolve()) if len(p.parts) > 1}
    names = "|".join(re.escape(folder) for folder in sorted({*FOLDERS, *folders}))
    return rf"(?<![\w.\-])(?:{names})(?![\w\-])"
