"""The text of the set-up cell, the same in all notebooks, and of a notebook's Colab badge.

A notebook opened on Colab comes without the lab and can import nothing of it, so
`lab notebooks build` writes the whole cell, with the repository's address and tag.
"""

from lab_utils.setup import project

# Colab shows the first line as the title of the folded cell.
# The clone is made in a temporary folder, so that one cut short leaves nothing behind. Git must
# not ask for a name on the terminal of the Jupyter server: the cell would wait for ever.
_CELL = """\
# @title Set-up: finds the lab's folder, or fetches it with git (Colab), and gets it ready
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = "{address}"
TAG = "{tag}"
here, name = Path.cwd(), REPOSITORY.split("/")[-1]
labs = [p for p in (here, *here.parents, here / name) if (p / "lab_utils/setup").is_dir()]
if not labs:
    clone = ["git", "clone", "--quiet", "--depth=1", "--branch", TAG, REPOSITORY]
    asking_nothing = {{**os.environ, "GIT_TERMINAL_PROMPT": "0"}}
    try:
        with tempfile.TemporaryDirectory(dir=here) as part:
            clone.append(part + "/lab")
            subprocess.run(clone, check=True, capture_output=True, text=True, env=asking_nothing)
            labs = [Path(part, "lab").rename(here / name)]
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        advice = f"it takes git, a network, and no other folder named {{name}} here"
        failure = RuntimeError(f"The lab was not fetched ({{reason}}): {{advice}}.")
        failure._render_traceback_ = lambda: [str(failure)]
        raise failure from None
sys.path.insert(0, str(labs[0]))
from lab_utils import setup

setup.prepare()
"""


def setup_cell() -> str:
    """The code of the set-up cell."""
    return _CELL.format(address=project.address(), tag=project.tag())


def badge(name: str) -> str:
    """The Markdown badge that opens the student's notebook `name`, as "01_checkpoint", on Colab."""
    repository = project.address().removeprefix("https://github.com/")
    colab = "https://colab.research.google.com"
    page = f"{colab}/github/{repository}/blob/{project.tag()}/notebooks/{name}.ipynb"
    return f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({page})"
