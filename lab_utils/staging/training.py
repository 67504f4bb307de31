"""`lab train`: a training whose checkpoint is kept at the tracker, with what you need later:
where it came from, and how well it reads."""

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging import names
from lab_utils.staging.errors import StagingError
from lab_utils.staging.tracker import Tracker, log_file, one_file
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Artifact, Run

    from text_recognizer.train.fine_tune import FineTuned
    from text_recognizer.train.sample_lines import SampleLines

OnStep = Callable[[str], None]
"""Gets the name of each step as it begins."""

BATCH = 4  # lines
VERSIONS = ("torch", "pytorch-lightning", "wandb")


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
    project: str = names.PROJECT,
    progress: bool = False,
    on_step: OnStep = lambda name: None,
) -> "Artifact":
    """Trains the packaged line reader a little, logs the checkpoint that reads best, and returns
    its version at the tracker, with its CER in the metadata.

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
    if the data or the tracker cannot be used; KeyboardInterrupt leaves a run marked as failed
    and no version.
    """
    on_step("data")
    tracker = Tracker(project)
    tracker.check()
    from text_recognizer.train.sample_lines import SampleLines

    every = min(validate_every or steps, steps)
    steps = -(-steps // every) * every
    lines = SampleLines(data, BATCH, every, pages, validation_pages, max_width, seed)
    labels, described = _describe(lines)
    origin = {"data": described, "packaged_weights": _weights(), "versions": versions()}
    config = {"steps": steps, "batch": BATCH, "seed": seed, "max_width": max_width, **origin}
    with (
        tempfile.TemporaryDirectory(prefix="lab-train-") as folder,
        tracker.new_run(names.TRAIN_JOB, config=config) as run,
    ):
        Path(folder, names.DATA_FILE).write_bytes(labels)
        pages_used = one_file(names.DATA, names.DATA_TYPE, Path(folder, names.DATA_FILE), described)
        run.summary["data"] = run.use_artifact(pages_used).wait().source_name
        on_step("train")
        tuned = _fine_tune(run, lines, Path(folder), steps, learning_rate, progress)
        on_step("checkpoint")
        found = {"score": tuned.cer, "score_before": tuned.cer_before, "step": tuned.step}
        metadata = found | {"sha256": sha256(tuned.checkpoint)} | origin
        logged = log_file(run, names.CHECKPOINT, names.CHECKPOINT_TYPE, tuned.checkpoint, metadata)
        run.summary.update({"score": tuned.cer, "checkpoint": logged.source_name})
    mark_best(tracker)
    return tracker.artifact(logged.source_name, names.CHECKPOINT_TYPE)


def mark_best(tracker: Tracker) -> None:
    """Gives `best` to the checkpoint with the lowest CER; of equal ones the oldest keeps it.

    Scores on other validation lines cannot be compared: the lines of the newest version count,
    unless the version that is `best` now was measured on others, which then keeps it.
    """
    logged = tracker.versions(names.CHECKPOINT, names.CHECKPOINT_TYPE)  # newest first
    scored = [one for one in logged if isinstance(one.metadata.get("score"), int | float)]
    if not scored:
        return
    holder = next((one for one in scored if names.BEST in one.aliases), None)
    lines = _validation(holder or scored[0])
    rivals = [one for one in reversed(scored) if _validation(one) == lines]
    best = min(rivals, key=lambda one: one.metadata["score"])
    if best is not holder:
        with tracker.asking():
            best.aliases.append(names.BEST)
            best.save()


def versions() -> dict[str, str]:
    """Of Python and of the packages that leave their mark in the files."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def _describe(data: "SampleLines") -> tuple[bytes, dict[str, Any]]:
    """The pages of a training as JSON (names, texts and digests of the images, which come with the
    project), and what runs and artifacts say about them.

    `validation_sha256` is the same for two trainings whose CERs may be compared.
    """
    items = {split: data.items(split) for split in ("train", "validation")}
    labels = {
        split: [{"file": i.file, "text": i.text, "sha256": sha256(i.path)} for i in found]
        for split, found in items.items()
    }
    text = _json(labels)
    validation = _json([labels["validation"], data.max_width])
    return text, {
        "sha256": hashlib.sha256(text).hexdigest(),
        "validation_sha256": hashlib.sha256(validation).hexdigest(),
        "pages": {split: len(found) for split, found in items.items()},
        "lines": {split: data.count(split) for split in items},
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _weights() -> dict[str, str]:
    """The digests of the packaged weights, with which a staged model can be made again."""
    from text_recognizer.weights import FINDER, READER, packaged_weights

    return {name: sha256(packaged_weights() / name) for name in (FINDER, READER)}


def _fine_tune(
    run: "Run", lines: "SampleLines", folder: Path, steps: int, rate: float, progress: bool
) -> "FineTuned":
    """The training itself; raises StagingError if it diverged."""
    from pytorch_lightning.loggers import WandbLogger

    from text_recognizer.train.fine_tune import fine_tune

    # The checkpoint is logged by `train`, with metadata that Lightning does not know.
    logger = WandbLogger(experiment=run, log_model=False, save_dir=str(folder))
    out = folder / names.CHECKPOINT_FILE
    tuned = fine_tune(
        lines, out, steps, rate, logger=logger, progress=progress, score_packaged=True
    )
    if tuned.step == 0:
        raise StagingError(
            "The training diverged and left nothing to keep; use a lower --learning-rate."
        )
    return tuned


def _validation(artifact: "Artifact") -> Any:
    return (artifact.metadata.get("data") or {}).get("validation_sha256")
