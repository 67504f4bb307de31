"""Looks over the machine: what the lab needs and what it can use, each with what to do about it.

Nothing is changed, installed or fetched, and no network is used. It needs only the standard
library, since missing packages are one of the things that it reports:

    python -m lab_utils.doctor
"""

from collections.abc import Callable, Iterable
from functools import partial

from lab_utils.doctor import machine, settings, software
from lab_utils.doctor.finding import Finding, fix, note
from lab_utils.doctor.probe import ask_torch

LOOKS = {
    "weights": software.check_weights,
    "tracker": settings.check_tracker,
    "wandb": settings.check_wandb,
    "threads": settings.check_threads,
    "proxies": settings.check_proxies,
    "folder": machine.check_folder,
    "disk": machine.check_disk,
    "memory": machine.check_memory,
}
"""By name, in the order of the report; the looks that wait for PyTorch come before these."""


def examine() -> list[Finding]:
    """Looks at everything, in about the time that PyTorch takes to start. Raises nothing."""
    path = software.model_path()
    told = ask_torch(path if path.is_file() else None)
    looks = {
        "python": software.check_python,
        "packages": software.check_packages,
        "torch": partial(software.check_torch, told),
        "model": partial(software.check_model, told),
        **LOOKS,
    }
    return [finding for name, look in looks.items() for finding in _look(name, look)]


def report(findings: Iterable[Finding]) -> str:
    """A line for each: the mark, what was checked, what was found, and what to do."""
    return "\n".join(
        f"{one.mark:<5}{one.check:<12}{one.found}{f' -> {one.remedy}' if one.remedy else ''}"
        for one in findings
    )


def exit_code(findings: Iterable[Finding]) -> int:
    """As of the other commands: 0, or 2 if the user has something to fix."""
    return 2 if any(one.mark == "fix" for one in findings) else 0


def _look(name: str, look: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """What a look finds; if it fails, one line about that."""
    try:
        seen = look()
    except ImportError as error:
        missing = error.name or "a package"
        seen = note(name, f"not checked, since {missing} cannot be imported", "see packages")
    except Exception as error:  # the rest is worth seeing all the same
        found = f"could not be checked ({type(error).__name__}: {error})"
        seen = fix(name, found, "see what it names")
    return seen if isinstance(seen, list) else [seen]
