"""`lab run`: the whole way of a model on one machine, link by link: data, gradient steps,
checkpoint, TorchScript, upload, download in a process that has torch and Pillow only, text."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging.compiling import StagedModel, stage
from lab_utils.staging.errors import StagingError
from lab_utils.staging.fetching import digest_of, staged_path
from lab_utils.staging.names import PROJECT, STAGED_FILE, STAGED_TYPE
from lab_utils.staging.tracker import Tracker
from lab_utils.staging.training import TrainedCheckpoint, train
from text_recognizer.errors import RecognizerError
from text_recognizer.places import SAMPLE_PAGES, project_folder

if TYPE_CHECKING:
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

    trained: TrainedCheckpoint
    staged: StagedModel
    file: Path
    pages: list[ReadPage]
    modules: list[str]
    """Top-level modules that the last process had imported, besides the standard library."""
    seconds: dict[str, float]
    """Of each link."""


class Links:
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
        out: where the staged model goes; None for `fetching.staged_path()`.
        on_link: is told the name of each link and its seconds, once it holds.

    Raises StagingError, or RuntimeError for what was not foreseen; both name the link that broke.
    """
    import torch

    from text_recognizer.evaluate.labels import load_items

    links = Links(on_link)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        trained = train(steps, pages=3, project=project, on_step=links.begin)
        staged = stage(checkpoint=trained.name, project=project, on_step=links.begin)
        links.begin("download")
        out = out or staged_path()
        items = load_items(SAMPLE_PAGES, kind="paragraph", split="show", limit=pages)
        read, modules = [], []
        for message in _read_with_torch_only(_request(staged.name, project, items, out)):
            if "page" in message:
                read.append(_read_page(items[len(read)], message))
            elif "modules" in message:
                modules = message["modules"]
            elif message["step"] != "download":
                links.begin(message["step"])
        links.begin("")
    except RecognizerError as error:
        raise StagingError(f"{links.name}: {error}") from error
    except Exception as error:
        raise RuntimeError(f"{links.name}: {type(error).__name__}: {error}") from error
    finally:
        torch.set_num_threads(threads)
    return HandOff(trained, staged, out, read, modules, links.seconds)


def _request(name: str, project: str, items: "list[Item]", out: Path) -> dict[str, Any]:
    """What the last process needs to know: it has no `wandb` to ask with."""
    tracker = Tracker(project)
    artifact = tracker.artifact(name, STAGED_TYPE)
    url, size, _ = tracker.file_of(artifact, STAGED_FILE)
    return {
        "url": url,
        "bytes": size,
        "sha256": digest_of(artifact),
        "out": str(out.absolute()),
        "pages": [str(item.path) for item in items],
    }


def _read_with_torch_only(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Runs `lab_utils.staging.torch_only` and gives its messages as they come."""
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "lab_utils.staging.torch_only"],
            cwd=project_folder(),
            env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                message = json.loads(line)
                if "error" in message:
                    raise StagingError(message["error"])
                yield message
        except BaseException:
            process.kill()
            raise
        if process.wait():
            log.seek(0)
            last = log.read().strip().rpartition("\n")[2] or f"exit code {process.returncode}"
            raise RuntimeError(f"the process with torch and Pillow only ended: {last}")


def _read_page(item: "Item", message: dict[str, Any]) -> ReadPage:
    from text_recognizer.metrics import character_edits

    cer = character_edits(message["text"], item.text).rate
    return ReadPage(item, message["text"], message["lines"], message["seconds"], cer)
