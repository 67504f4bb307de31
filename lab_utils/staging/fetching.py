"""`lab fetch`: a staged model from the tracker to a file that a service can load, or nothing."""

import re
from pathlib import Path

from lab_utils.staging.errors import StagingError
from lab_utils.staging.names import LATEST, PROJECT, STAGED_FILE, STAGED_TYPE
from lab_utils.staging.tracker import Tracker
from text_recognizer.model_file import fetched_model_path


def fetch(version: str = LATEST, out: Path | None = None, *, project: str = PROJECT) -> Path:
    """Downloads a staged model and returns where it lies.

    Args:
        version: `ALIAS`, `v3` or `NAME:ALIAS`.
        out: the file to write, or a folder for it; None for the place where models are read from
            if you name no other.
        project: `NAME` or `ENTITY/NAME` at the tracker.

    The bytes are checked against the SHA-256 in the version's metadata before they replace what is
    there, in one step; nothing of them is loaded. Raises StagingError, with nothing changed, if
    there is no such version, or its bytes do not come whole and right.
    """
    target = out or fetched_model_path()
    if target.is_dir():
        target = target / STAGED_FILE
    tracker = Tracker(project)
    artifact = tracker.artifact(version, STAGED_TYPE)
    digest = str(artifact.metadata.get("sha256")).lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise StagingError(
            f"{artifact.source_name} has no SHA-256 in its metadata, so its bytes cannot be "
            "checked; take a version that `lab stage` logged."
        )
    tracker.download(artifact, STAGED_FILE, target, digest)
    return target
