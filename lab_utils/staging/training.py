"""`lab train`: a training whose checkpoint is kept at the tracker, with what you need later:
where it came from, how well it reads, and how to rebuild the module."""

import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import (
    BEST,
    CHECKPOINT,
    CHECKPOINT_FILE,
    CHECKPOINT_TYPE,
    PROJECT,
    TRAIN_JOB,
)
from lab_utils.staging.tracker import Tracker, named_aliases, sdk
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Artifact, Run

    from lab_utils.staging.data import DataSet
    from text_recognizer.train.fine_tune import FineTuned
    from text_recognizer.train.sample_lines import SampleLines

OnStep = Callable[[str], None]
"""Is told the name of each step as it begins."""

BATCH = 4  # lines
VERSIONS = ("torch", "pytorch-lightning", "wandb")


@dataclass(frozen=True)
class TrainedCheckpoint:
    """A version of the checkpoint's artifact, and the run that logged it."""

    name: str
    """`line-reader:v3`."""
    aliases: list[str]
    run_id: str
    cer: float
    """On the validation lines, of the weights in the file."""
    cer_before: float
    """The same of the packaged weights, where the training began."""
    step: int
    """Optimizer steps up to the checkpoint."""
    bytes: int


def train(
    steps: int = 8,
    pages: int | None = 4,
    learning_rate: float = 1e-5,
    seed: int = 1,
    *,
    data: Path | None = None,
    max_width: int = 384,
    validation_pages: int | None = None,
    validate_every: int | None = None,
    project: str = PROJECT,
    progress: bool = False,
    on_step: OnStep = lambda name: None,
) -> TrainedCheckpoint:
    """Trains the packaged line reader a little and logs the checkpoint that reads best.

    Args:
        steps: of the optimizer; made a multiple of `validate_every`.
        pages: of the split `train`; None for all.
        learning_rate: AdamW's peak; it falls as a cosine.
        data: folder with a `labels.json`; None for the project's sample pages.
        max_width: px of a line's strip; longer lines are left out.
        validation_pages: of the split `validation`; None for all.
        validate_every: steps between two validations; None for one, after the last step.
        project: `NAME` or `ENTITY/NAME` at the tracker.
        progress: shows Lightning's bar.

    The version gets the alias `latest` as it becomes whole, and then `best` if its CER is lower
    than that of every other version measured on the same validation lines. Raises RecognizerError
    where the data or the tracker cannot be used; KeyboardInterrupt leaves a run marked as failed
    and no version.
    """
    on_step("data")
    tracker = Tracker(project)
    tracker.check()
    from lab_utils.staging.data import data_set, use_data
    from text_recognizer.train.sample_lines import SampleLines

    every = min(validate_every or steps, steps)
    steps = -(-steps // every) * every
    lines = SampleLines(data, BATCH, every, pages, validation_pages, max_width, seed)
    used = data_set(lines)
    origin = _origin(used)
    config = {"steps": steps, "batch": BATCH, "seed": seed, "max_width": max_width, **origin}
    with (
        tempfile.TemporaryDirectory(prefix="lab-train-") as folder,
        tracker.new_run(TRAIN_JOB, config=config) as run,
    ):
        run.summary["data"] = use_data(run, used, Path(folder))
        on_step("train")
        tuned = _fine_tune(run, lines, Path(folder), steps, learning_rate, progress)
        on_step("checkpoint")
        artifact = _log_checkpoint(run, tuned, origin)
    with sdk(tracker.connection.url):
        mark_best(tracker)
        logged = tracker.artifact(artifact.source_name, CHECKPOINT_TYPE)
    return TrainedCheckpoint(
        name=logged.source_name,
        aliases=named_aliases(logged),
        run_id=run.id,
        cer=tuned.cer,
        cer_before=tuned.cer_before,
        step=tuned.step,
        bytes=logged.size,
    )


def _origin(data: "DataSet") -> dict[str, Any]:
    """What a checkpoint comes from; with the packaged weights a staged model can be made again."""
    from text_recognizer.weights import FINDER, READER, packaged_weights

    return {
        "data": data.metadata,
        "packaged_weights": {name: sha256(packaged_weights() / name) for name in (FINDER, READER)},
        "versions": versions(),
    }


def _log_checkpoint(run: "Run", tuned: "FineTuned", origin: dict[str, Any]) -> "Artifact":
    """Logs the checkpoint with how it reads, and what is needed to make it again."""
    metadata = {
        "score": tuned.cer,
        "score_before": tuned.cer_before,
        "step": tuned.step,
        "config": _hyper_parameters(tuned.checkpoint),
        "sha256": sha256(tuned.checkpoint),
        **origin,
    }
    artifact = log_file(run, CHECKPOINT, CHECKPOINT_TYPE, tuned.checkpoint, metadata)
    run.summary.update({"score": tuned.cer, "checkpoint": artifact.source_name})
    return artifact


def _fine_tune(
    run: "Run", lines: "SampleLines", folder: Path, steps: int, rate: float, progress: bool
) -> "FineTuned":
    """The training itself; raises StagingError if it diverged."""
    from pytorch_lightning.loggers import WandbLogger

    from text_recognizer.train.fine_tune import fine_tune

    # The checkpoint is logged by `train`, with metadata that Lightning does not know.
    logger = WandbLogger(experiment=run, log_model=False, save_dir=str(folder))
    out = folder / CHECKPOINT_FILE
    tuned = fine_tune(
        lines, out, steps, rate, logger=logger, progress=progress, score_packaged=True
    )
    if tuned.step == 0:
        raise StagingError(
            "The training diverged and left nothing to keep; use a lower --learning-rate."
        )
    return tuned


def mark_best(tracker: Tracker) -> None:
    """Gives `best` to the checkpoint with the lowest CER; of equal ones the oldest keeps it.

    Scores on other validation lines cannot be compared: the lines of the newest version count,
    unless the version that is `best` now was measured on others, which is then left as it is.
    """
    versions = tracker.versions(CHECKPOINT, CHECKPOINT_TYPE)  # newest first
    scored = [one for one in versions if isinstance(one.metadata.get("score"), int | float)]
    if not scored:
        return
    holder = next((one for one in scored if BEST in one.aliases), None)
    lines = _validation(holder or scored[0])
    rivals = [one for one in reversed(scored) if _validation(one) == lines]
    best = min(rivals, key=lambda one: one.metadata["score"])
    if best is not holder:
        best.aliases.append(BEST)
        best.save()


def _validation(artifact: "Artifact") -> Any:
    return (artifact.metadata.get("data") or {}).get("validation_sha256")


def log_file(run: Any, name: str, type: str, path: Path, metadata: dict[str, Any]) -> "Artifact":
    """Logs one file as an artifact and waits until the tracker has it whole.

    Until then the version is invisible: a process that is killed leaves nothing behind.
    """
    import wandb

    artifact = wandb.Artifact(name, type=type, metadata=metadata)
    # The file stays where it is until the upload ends: no copy is needed, and none is cached.
    artifact.add_file(str(path), name=path.name, skip_cache=True, policy="immutable")
    return run.log_artifact(artifact).wait()


def versions() -> dict[str, str]:
    """Of Python and of the packages that leave their mark in the files."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def _hyper_parameters(checkpoint: Path) -> dict[str, Any]:
    """From which the module is built again."""
    import torch

    config = torch.load(checkpoint, map_location="cpu", weights_only=True)["hyper_parameters"]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}
