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
    mode = environment.get("WANDB_MODE", "").strip().lower()
    if mode not in ("", "online", "run", "shared"):
        return (
            f"WANDB_MODE={mode} keeps runs from the tracker, which the next step reads them from",
            "unset WANDB_MODE; without an account, runs stay on this machine anyway",
        )
    if environment.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes"):
        return "WANDB_DISABLED keeps runs from the tracker", "unset WANDB_DISABLED"
    for name in ("WANDB_RUN_ID", "WANDB_RESUME"):
        if environment.get(name, "").strip():
            return (
                f"{name} would make the training and the staging one run, without a lineage",
                f"unset {name}",
            )
    for tag in tags(environment):
        if len(tag) > _LONGEST_TAG:
            return f"a tag in WANDB_TAGS is longer than {_LONGEST_TAG} letters", "shorten it"
    return None


def tags(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The tags in WANDB_TAGS, without empty ones, each once."""
    found = [tag.strip() for tag in environment.get("WANDB_TAGS", "").split(",")]
    return list(dict.fromkeys(filter(None, found)))


def check_settings() -> None:
    """Raises StagingError for a variable that the hand-off can't work with."""
    if (found := problem()) is not None:
        raise StagingError(f"{found[0]}; {found[1]}.")


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Hides variables from the SDK that it would read again, in its own way: the project is given
    to it by name, without the entity, and it stops at an empty tag."""
    hidden = {name: os.environ.pop(name, None) for name in ("WANDB_PROJECT", "WANDB_TAGS")}
    silent = os.environ.get("WANDB_SILENT")
    os.environ["WANDB_SILENT"] = "true"
    try:
        yield
    finally:
        for name, value in {**hidden, "WANDB_SILENT": silent}.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
