"""`lab run`: the whole way of a model on one machine, link by link: data, gradient steps,
checkpoint, TorchScript, upload, download, text in a process that has torch and Pillow only."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_tracker.errors import TrackingError
from lab_utils.staging.compiling import stage
from lab_utils.staging.errors import StagingError
from lab_utils.staging.fetching import fetch
from lab_utils.staging.names import PROJECT
from lab_utils.staging.training import train
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES, project_folder

if TYPE_CHECKING:
    from wandb import Artifact

    from text_recognizer.evaluate.labels import Item

NUM_PAGES = 3
THREADS = 1
"""A second thread gains little on short lines and single pages, and where another program wants
the processor, too, the threads wait for each other: five times as long was measured."""


@dataclass(frozen=True)
class ReadPage:
    """A page as the last process of the chain read it."""

    item: "Item"
    text: str
    lines: int
    seconds: float
    cer: float


@dataclass(frozen=True)
class HandOff:
    """What came out at each end."""

    trained: "Artifact"
    staged: "Artifact"
    file: Path
    pages: list[ReadPage]
    modules: list[str]
    """Top-level modules that the last process had imported, besides the standard library."""
    seconds: dict[str, float]
    """Of each link."""


class _Links:
    """Notes which link is being made, and how long each took."""

    def __init__(self, on_link: Callable[[str, float], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.name, self._began, self._on_link = "", 0.0, on_link

    def begin(self, name: str) -> None:
        """Ends the link before, and begins one; the name "" begins none."""
        now = time.perf_counter()
        if self.name:
            self.seconds[self.name] = now - self._began
            self._on_link(self.name, self.seconds[self.name])
        self.name, self._began = name, now


def hand_off(
    *,
    steps: int = 4,
    pages: int = NUM_PAGES,
    project: str = PROJECT,
    out: Path | None = None,
    on_link: Callable[[str, float], None] = lambda name, seconds: None,
) -> HandOff:
    """Trains for a few steps, stages the checkpoint, and reads pages with what was staged.

    Args:
        steps: of the optimizer. So few improve nothing: this is about the way, not the model.
        pages: sample pages to read at the end.
        out: where the staged model goes; None for where `fetch` puts it.
        on_link: gets the name of each link and its seconds, once it holds.

    Raises StagingError, or RuntimeError for what was not foreseen; both name the link that broke.
    """
    import torch

    from text_recognizer.evaluate.labels import load_items
    from text_recognizer.metrics import character_edits

    links = _Links(on_link)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        trained = train(steps, pages=3, project=project, on_step=links.begin)
        staged = stage(trained.name, project=project, on_step=links.begin)
        links.begin("download")
        out = fetch(staged.name, out, project=project)
        links.begin("read")
        items = load_items(SAMPLE_PAGES, kind="paragraph", split="show", limit=pages)
        answer = _read_with_torch_only(out, items)
        links.begin("")
    except (RecognizerError, TrackingError) as error:
        raise StagingError(f"{links.name}: {error}") from error
    except Exception as error:
        raise RuntimeError(f"{links.name}: {type(error).__name__}: {error}") from error
    finally:
        torch.set_num_threads(threads)
    read = [
        ReadPage(item, cer=character_edits(page["text"], item.text).rate, **page)
        for item, page in zip(items, answer["pages"], strict=True)
    ]
    return HandOff(trained, staged, out, read, answer["modules"], links.seconds)


def _read_with_torch_only(model: Path, items: "list[Item]") -> dict[str, Any]:
    """What `lab_utils.staging.torch_only` prints; raises StagingError if that is an error."""
    paths = [model.absolute(), *(item.path for item in items)]
    done = subprocess.run(
        [sys.executable, "-m", "lab_utils.staging.torch_only", *map(str, paths)],
        cwd=project_folder(),
        env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise RuntimeError(f"the process with torch and Pillow only ended: {last}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise StagingError(answer["error"])
    return answer
