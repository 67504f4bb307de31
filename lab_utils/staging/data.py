"""The pages that a training saw, as a data set at the tracker: the far end of the lineage.

It holds names, texts and digests of the images, not the images: these come with the project.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_utils.staging.names import DATA, DATA_FILE, DATA_TYPE
from lab_utils.staging.tracker import versioned
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Run

    from text_recognizer.evaluate.labels import Item
    from text_recognizer.train.sample_lines import SampleLines


@dataclass(frozen=True)
class DataSet:
    """The pages of the two splits as JSON, and how many lines of them are used."""

    labels: bytes
    pages: dict[str, int]
    lines: dict[str, int]
    validation_digest: str
    """The same for two trainings whose CERs may be compared."""

    @property
    def digest(self) -> str:
        """SHA-256 of the labels, which hold the SHA-256 of every image."""
        return hashlib.sha256(self.labels).hexdigest()

    def metadata(self) -> dict[str, Any]:
        """What runs and artifacts say about their data."""
        return {
            "sha256": self.digest,
            "validation_sha256": self.validation_digest,
            "pages": self.pages,
            "lines": self.lines,
        }


def data_set(data: "SampleLines") -> DataSet:
    """Tells which pages and lines a training uses; raises RecognizerError where it has none."""
    splits = {split: data.items(split) for split in ("train", "validation")}
    labels = {split: _described(items) for split, items in splits.items()}
    validation = [labels["validation"], data.max_width]
    return DataSet(
        labels=_json(labels),
        pages={split: len(items) for split, items in splits.items()},
        lines={split: data.count(split) for split in splits},
        validation_digest=hashlib.sha256(_json(validation)).hexdigest(),
    )


def use_data(run: "Run", data: DataSet, folder: Path) -> str:
    """Notes at the tracker that a run uses the data; returns the version, `sample-pages:v0`."""
    import wandb

    path = folder / DATA_FILE
    path.write_bytes(data.labels)
    artifact = wandb.Artifact(DATA, type=DATA_TYPE, metadata=data.metadata())
    artifact.add_file(str(path), name=DATA_FILE, skip_cache=True, policy="immutable")
    return versioned(run.use_artifact(artifact).wait())


def _described(items: Sequence["Item"]) -> list[dict[str, str]]:
    return [{"file": i.file, "text": i.text, "sha256": sha256(i.path)} for i in items]


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
