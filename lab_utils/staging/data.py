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
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from wandb import Run

    from text_recognizer.evaluate.labels import Item
    from text_recognizer.train.sample_lines import SampleLines


@dataclass(frozen=True)
class DataSet:
    """The pages of the two splits as JSON, and what runs and artifacts say about them."""

    labels: bytes
    metadata: dict[str, Any]
    """`sha256` of the labels, which hold that of every image; `validation_sha256`, the same for two
    trainings whose CERs may be compared; `pages` and `lines` by split."""


def data_set(data: "SampleLines") -> DataSet:
    """Tells which pages and lines a training uses; raises RecognizerError where it has none."""
    splits = {split: data.items(split) for split in ("train", "validation")}
    labels = {split: _described(items) for split, items in splits.items()}
    text = _json(labels)
    metadata = {
        "sha256": hashlib.sha256(text).hexdigest(),
        "validation_sha256": hashlib.sha256(
            _json([labels["validation"], data.max_width])
        ).hexdigest(),
        "pages": {split: len(items) for split, items in splits.items()},
        "lines": {split: data.count(split) for split in splits},
    }
    return DataSet(text, metadata)


def use_data(run: "Run", data: DataSet, folder: Path) -> str:
    """Notes at the tracker that a run uses the data; returns the version, `sample-pages:v0`."""
    import wandb

    path = folder / DATA_FILE
    path.write_bytes(data.labels)
    artifact = wandb.Artifact(DATA, type=DATA_TYPE, metadata=data.metadata)
    artifact.add_file(str(path), name=DATA_FILE, skip_cache=True, policy="immutable")
    return run.use_artifact(artifact).wait().source_name


def _described(items: Sequence["Item"]) -> list[dict[str, str]]:
    return [{"file": i.file, "text": i.text, "sha256": sha256(i.path)} for i in items]


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
