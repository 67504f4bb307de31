"""`lab run`: the whole way of a model on one machine, link by link: data, gradient steps,
checkpoint, TorchScript, upload, download in a process that has torch and Pillow only, text."""

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
from lab_utils.staging.compiling import StagedModel, stage
from lab_utils.staging.errors import StagingError
from lab_utils.staging.fetching import digest_of
from lab_utils.staging.names import PROJECT, STAGED_FILE, STAGED_TYPE
from lab_utils.staging.tracker import Tracker
from lab_utils.staging.training import TrainedCheckpoint, train
from text_recognizer.errors import RecognizerError
from text_recognizer.model_file import fetched_model_path
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


class _Links:
    """Notes which link is being made, and how long each took."""

    def __init__(self, on_link: Callable[[str, float], None]) -> None:
        self.seconds: dict[str, float] = {}
        self.name, self._began, self._on_link = "", 0.0, on_link

    def begin(self, name: str, ago: float = 0.0) -> None:
        """Ends the link before, and begins one, so many seconds ago; the name "" begins none."""
        now = time.perf_counter() - ago
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
        out = out or fetched_model_path()
        items = load_items(SAMPLE_PAGES, kind="paragraph", split="show", limit=pages)
        answer = _read_with_torch_only(staged.name, project, items, out)
        links.begin("read", ago=answer["seconds"])
        if "error" in answer:
            raise StagingError(answer["error"])
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


def _read_with_torch_only(
    name: str, project: str, items: "list[Item]", out: Path
) -> dict[str, Any]:
    """What `lab_utils.staging.torch_only` answers, once it has downloaded the model.

    That process has no `wandb`, so it is given the address and the digest of the file.
    """
    tracker = Tracker(project)
    artifact = tracker.artifact(name, STAGED_TYPE)
    url, size, _ = tracker.file_of(artifact, STAGED_FILE)
    request = {
        "url": url,
        "bytes": size,
        "sha256": digest_of(artifact),
        "out": str(out.absolute()),
        "pages": [str(item.path) for item in items],
    }
    done = subprocess.run(
        [sys.executable, "-m", "lab_utils.staging.torch_only"],
        cwd=project_folder(),
        env=os.environ | {"OMP_NUM_THREADS": str(THREADS)},
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if not done.stdout:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise RuntimeError(f"the process with torch and Pillow only ended: {last}")
    answer = json.loads(done.stdout)
    if "seconds" not in answer:
        raise StagingError(answer["error"])
    return answer
