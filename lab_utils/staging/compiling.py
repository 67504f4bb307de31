"""`lab stage`: from a checkpoint at the tracker to the TorchScript file that services load.

The version is served only when it is whole and read again: killed at any point, nothing else is."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import (
    BEST,
    CHECKPOINT_TYPE,
    PRODUCTION,
    PROJECT,
    STAGE_JOB,
    STAGED,
    STAGED_FILE,
    STAGED_TYPE,
)
from lab_utils.staging.parity import Parity, compare
from lab_utils.staging.tracker import Tracker, named_aliases
from lab_utils.staging.training import OnStep, log_file, versions
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Artifact, Run

    from text_recognizer.train.reader import ReaderTraining

PAGES = 3  # to compare the script with the module on


@dataclass(frozen=True)
class StagedModel:
    """A version of the staged model's artifact, and where it comes from."""

    name: str
    """`paragraph-reader:v2`."""
    aliases: list[str]
    run_id: str
    checkpoint: str
    """`line-reader:v5`."""
    sha256: str
    bytes: int
    checkpoint_bytes: int
    parity: Parity

    @property
    def ratio(self) -> float:
        """Bytes of the TorchScript file to those of the checkpoint."""
        return self.bytes / self.checkpoint_bytes


def stage(
    checkpoint: str = BEST,
    *,
    promote: bool = False,
    project: str = PROJECT,
    pages: int = PAGES,
    on_step: OnStep = lambda name: None,
) -> StagedModel:
    """Compiles a checkpoint and logs the TorchScript file.

    Args:
        checkpoint: `ALIAS`, `v3` or `NAME:ALIAS`.
        promote: also gives the version the alias `production`, once it is verified.
        project: `NAME` or `ENTITY/NAME` at the tracker.
        pages: sample pages on which script and module are compared.

    Raises RecognizerError where the checkpoint is not there, is of another model or damaged, or
    where the script reads otherwise than the module; nothing is logged then.
    """
    on_step("find")
    tracker = Tracker(project)
    found = tracker.artifact(checkpoint, CHECKPOINT_TYPE)
    with tempfile.TemporaryDirectory(prefix="lab-stage-") as folder:
        on_step("download checkpoint")
        file = Path(folder, "checkpoint.ckpt")
        tracker.download(found, _checkpoint_file(found), file, found.metadata.get("sha256"))
        from text_recognizer.train.checkpoint import load_reader_checkpoint

        training = load_reader_checkpoint(file)
        with tracker.new_run(STAGE_JOB, config={"checkpoint": found.source_name}) as stage_run:
            stage_run.use_artifact(found.source_qualified_name)  # an alias may move meanwhile
            on_step("compile")
            script = Path(folder, STAGED_FILE)
            training.to_torchscript(script)
            on_step("parity")
            parity = _compare(found.source_name, training, script, pages, stage_run)
            metadata = _metadata(found, training.hparams, parity, script, file.stat().st_size)
            on_step("upload")
            logged = log_file(stage_run, STAGED, STAGED_TYPE, script, metadata)
            on_step("verify")
            # As the tracker gives it to others, checked against the file that was logged.
            whole = tracker.artifact(logged.source_name, STAGED_TYPE)
            tracker.download(whole, STAGED_FILE, Path(folder, "again.pt"), metadata["sha256"])
            stage_run.summary["staged"] = whole.source_name
            if promote:
                on_step("promote")
                whole.aliases.append(PRODUCTION)
                whole.save()
    return StagedModel(
        name=whole.source_name,
        aliases=named_aliases(whole),
        run_id=stage_run.id,
        checkpoint=found.source_name,
        sha256=metadata["sha256"],
        bytes=metadata["bytes"]["torchscript"],
        checkpoint_bytes=metadata["bytes"]["checkpoint"],
        parity=parity,
    )


def _compare(name: str, training: "ReaderTraining", script: Path, pages: int, run: "Run") -> Parity:
    """Compares the script, as a service loads it, with the module; refuses one that differs."""
    from text_recognizer.evaluate.labels import load_items
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer
    from text_recognizer.places import SAMPLE_PAGES

    items = load_items(SAMPLE_PAGES, kind="paragraph", split="show", limit=pages)
    parity = compare(training.paragraph_reader(), ParagraphTextRecognizer(script).model, items)
    run.summary.update(parity.metadata())
    if not parity.holds:
        differing = ", ".join(parity.pages_that_differ) or "no page"
        raise StagingError(
            f"{name} was not staged: the TorchScript file reads {differing} differently from the "
            f"module, with logits up to {parity.largest_logit_difference:.2g} apart; "
            "train again, or stage with another version of PyTorch."
        )
    return parity


def _checkpoint_file(artifact: "Artifact") -> str:
    files = [name for name in artifact.manifest.entries if name.endswith(".ckpt")]
    if len(files) != 1:
        raise StagingError(
            f"{artifact.source_name} holds {len(files)} .ckpt files; give a version with one."
        )
    return files[0]


def _metadata(
    checkpoint: "Artifact", config: Any, parity: Parity, script: Path, checkpoint_bytes: int
) -> dict[str, Any]:
    from text_recognizer.weights import FINDER, packaged_weights

    trained = checkpoint.metadata
    return {
        "checkpoint": checkpoint.source_name,
        "checkpoint_sha256": trained.get("sha256"),
        "config": {k: list(v) if isinstance(v, tuple) else v for k, v in dict(config).items()},
        "metrics": {
            **{k: trained.get(k) for k in ("score", "score_before", "step")},
            "sample_pages_cer": parity.cer,
        },
        "parity": parity.metadata(),
        "file": script.name,
        "sha256": sha256(script),
        "bytes": {"checkpoint": checkpoint_bytes, "torchscript": script.stat().st_size},
        # With this and the checkpoint the same file can be made again.
        "line_finder_sha256": sha256(packaged_weights() / FINDER),
        "data": trained.get("data"),
        "versions": versions(),
    }
