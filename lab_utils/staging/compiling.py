"""`lab stage`: from a checkpoint at the tracker to the TorchScript file that services load.

`production` moves only when the version is whole and has been read again; killed at any point, it
stays where it was."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging import names
from lab_utils.staging.errors import StagingError
from lab_utils.staging.parity import Parity, compare
from lab_utils.staging.tracker import Tracker, log_file
from lab_utils.staging.training import OnStep, versions
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Artifact

    from text_recognizer.train.reader import ReaderTraining

PAGES = 3  # to compare the script with the module on


def stage(
    checkpoint: str = names.BEST,
    *,
    promote: bool = False,
    project: str = names.PROJECT,
    pages: int = PAGES,
    on_step: OnStep = lambda name: None,
) -> "Artifact":
    """Compiles a checkpoint, logs the TorchScript file, and returns its version at the tracker.

    The version's metadata says where the file comes from and how it reads: with it and the
    checkpoint the same file can be made again.

    Args:
        checkpoint: `ALIAS`, `v3` or `NAME:ALIAS`.
        promote: also gives the version the alias `production`, once it is verified.
        project: `NAME` or `ENTITY/NAME` at the tracker.
        pages: sample pages on which script and module are compared.

    Raises RecognizerError if the checkpoint is not there, is of another model or damaged, or if the
    script reads otherwise than the module; nothing is logged then.
    """
    on_step("find")
    tracker = Tracker(project)
    found = tracker.artifact(checkpoint, names.CHECKPOINT_TYPE)
    with tempfile.TemporaryDirectory(prefix="lab-stage-") as folder:
        on_step("download checkpoint")
        file, script = Path(folder, names.CHECKPOINT_FILE), Path(folder, names.STAGED_FILE)
        tracker.download(found, _checkpoint_file(found), file, found.metadata.get("sha256"))
        from text_recognizer.train.checkpoint import load_reader_checkpoint

        training = load_reader_checkpoint(file)
        with tracker.new_run(names.STAGE_JOB, config={"checkpoint": found.source_name}) as run:
            run.use_artifact(found.source_qualified_name)  # an alias may move meanwhile
            on_step("compile")
            training.to_torchscript(script)
            on_step("parity")
            parity = _compare(training, script, pages)
            run.summary.update(parity.metadata())
            if not parity.holds:
                raise StagingError(f"{found.source_name} was not staged: {_difference(parity)}")
            metadata = _metadata(found, training, parity, script)
            on_step("upload")
            logged = log_file(run, names.STAGED, names.STAGED_TYPE, script, metadata)
            on_step("verify")
            # As the tracker gives it to others, checked against the file that was logged.
            whole = tracker.artifact(logged.source_name, names.STAGED_TYPE)
            tracker.download(whole, names.STAGED_FILE, Path(folder, "again.pt"), metadata["sha256"])
            run.summary["staged"] = whole.source_name
            if promote:
                on_step("promote")
                whole.aliases.append(names.PRODUCTION)
                whole.save()
    return whole


def _checkpoint_file(artifact: "Artifact") -> str:
    files = [name for name in artifact.manifest.entries if name.endswith(".ckpt")]
    if len(files) != 1:
        raise StagingError(
            f"{artifact.source_name} holds {len(files)} .ckpt files; give a version with one."
        )
    return files[0]


def _compare(training: "ReaderTraining", script: Path, pages: int) -> Parity:
    """Compares the script, as a service loads it, with the module."""
    from text_recognizer.evaluate.labels import load_items
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
    from text_recognizer.places import SAMPLE_PAGES

    items = load_items(SAMPLE_PAGES, kind="paragraph", split="show", limit=pages)
    return compare(training.paragraph_reader(), ParagraphTextRecognizer(script).model, items)


def _difference(parity: Parity) -> str:
    differing = ", ".join(parity.pages_that_differ) or "no page"
    return (
        f"the TorchScript file reads {differing} differently from the module, with logits up to "
        f"{parity.largest_logit_difference:.2g} apart; train again, or stage with another version "
        "of PyTorch."
    )


def _metadata(
    checkpoint: "Artifact", training: "ReaderTraining", parity: Parity, script: Path
) -> dict[str, Any]:
    from text_recognizer.weights import FINDER, packaged_weights

    trained, settings = checkpoint.metadata, dict(training.hparams)
    scores = {key: trained.get(key) for key in ("score", "score_before", "step")}
    return {
        "checkpoint": checkpoint.source_name,
        "checkpoint_sha256": trained.get("sha256"),
        "config": {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()},
        "metrics": scores | {"sample_pages_cer": parity.cer},
        "parity": parity.metadata(),
        "bytes": {"checkpoint": checkpoint.size, "torchscript": script.stat().st_size},
        "sha256": sha256(script),
        "line_finder_sha256": sha256(packaged_weights() / FINDER),
        "data": trained.get("data"),
        "versions": versions(),
    }
