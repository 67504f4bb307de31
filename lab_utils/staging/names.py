"""The names under which models are kept at the tracker: one place for all commands.

A checkpoint (`line-reader`, type `model`) is what training leaves; a staged model
(`paragraph-reader`, type `prod-ready`) is the TorchScript file that a service loads.
"""

PROJECT = "text-recognizer-lab"

TRAIN_JOB = "train"
STAGE_JOB = "stage"

CHECKPOINT = "line-reader"
CHECKPOINT_TYPE = "model"
CHECKPOINT_FILE = "line_reader.ckpt"

STAGED = "paragraph-reader"
STAGED_TYPE = "prod-ready"
STAGED_FILE = "paragraph_reader.pt"

DATA = "sample-pages"
DATA_TYPE = "dataset"
DATA_FILE = "labels.json"

LATEST = "latest"
"""The version logged last; the tracker moves it when a version is whole."""
BEST = "best"
"""The checkpoint with the lowest CER on the validation lines."""
PRODUCTION = "production"
"""The staged model that services load."""

COLLECTIONS = {STAGED_TYPE: STAGED, CHECKPOINT_TYPE: CHECKPOINT, DATA_TYPE: DATA}
"""The name of the lab's artifact of each type."""
