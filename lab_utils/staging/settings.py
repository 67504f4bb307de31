"""The variables of the `wandb` SDK that would break the hand-off: refused, or fixed.

Needs the standard library only, since `lab doctor` looks at them as well.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from lab_utils.staging.errors import StagingError

_LONGEST_TAG = 64


def problem(environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """What is wrong with a variable, and what to do; None if nothing is."""
    value = {name: text.strip().lower() for name, text in environment.items()}
    if (mode := value.get("WANDB_MODE", "")) not in ("", "online", "run", "shared"):
        return (
            f"WANDB_MODE={mode} keeps runs from the tracker, which the next step reads them from",
            "unset WANDB_MODE; without an account, runs stay on this machine anyway",
        )
    if value.get("WANDB_DISABLED") in ("1", "true", "yes"):
        return "WANDB_DISABLED keeps runs from the tracker", "unset WANDB_DISABLED"
    for name in ("WANDB_RUN_ID", "WANDB_RESUME"):
        if value.get(name):
            return (
                f"{name} would make the training and the staging one run, without a lineage",
                f"unset {name}",
            )
    if any(len(tag) > _LONGEST_TAG for tag in value.get("WANDB_TAGS", "").split(",")):
        return f"a tag in WANDB_TAGS is longer than {_LONGEST_TAG} letters", "shorten it"
    return None


def check_settings() -> None:
    """Raises StagingError for a variable that the hand-off can't work with."""
    if (found := problem()) is not None:
        raise StagingError(f"{found[0]}; {found[1]}.")


def tags() -> list[str]:
    """Those in WANDB_TAGS, without empty ones, at which the SDK stops."""
    found = map(str.strip, os.environ.get("WANDB_TAGS", "").split(","))
    return list(dict.fromkeys(filter(None, found)))


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Keeps the SDK quiet, and hides from it the project and the tags, which it is given."""
    names = ("WANDB_PROJECT", "WANDB_SILENT", "WANDB_TAGS")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["WANDB_SILENT"] = "true"
    try:
        yield
    finally:
        del os.environ["WANDB_SILENT"]
        os.environ.update(before)
