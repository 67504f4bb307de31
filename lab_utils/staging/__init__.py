"""The way of a model from training to a service, over the `wandb` SDK: train, stage, fetch, follow
its lineage, clean up. With `WANDB_API_KEY` set this goes to wandb.ai, else to the lab's tracker.

    from lab_utils import staging

    trained = staging.train(steps=8)                    # line-reader:v0, best
    staged = staging.stage(checkpoint=trained.name)     # paragraph-reader:v0
    path = staging.fetch("latest")                      # .lab/staged/paragraph_reader.pt
    print(staging.lineage("latest").table())
    print(staging.cleanup().to_delete)                  # a plan; yes=True deletes
"""

from lab_utils.staging.cleanup import cleanup
from lab_utils.staging.compiling import stage
from lab_utils.staging.errors import StagingError
from lab_utils.staging.fetching import fetch
from lab_utils.staging.lineage import lineage
from lab_utils.staging.pipeline import hand_off
from lab_utils.staging.training import train

__all__ = ["StagingError", "cleanup", "fetch", "hand_off", "lineage", "stage", "train"]
