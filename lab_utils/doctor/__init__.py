"""Looks over the machine: what the lab needs and what it can use, each with what to do about it.

Nothing is changed, installed or fetched, and no network is used. It needs only the standard
library, since missing packages are one of the things that it reports:

    python -m lab_utils.doctor
"""

from collections.abc import Callable, Mapping
from functools import partial

from lab_utils.doctor import machine, software
from lab_utils.doctor.finding import Finding, fix, note

LOOKS = {
    "python": software.check_python,
    "packages": software.check_packages,
    "versions": software.check_versions,
    "weights": software.check_weights,
    "language": software.check_language_model,
    "tracker": machine.check_tracker,
    "wandb": machine.check_wandb,
    "threads": machine.check_threads,
    "proxies": machine.check_proxies,
    "folder": machine.check_folder,
    "disk": machine.check_disk,
    "memory": machine.check_memory,
    "load": machine.check_load,
}


def examine() -> dict[str, Finding]:
    """What each look found, by its name, in about the time that PyTorch takes to start."""
    path = software.model_path()
    said = software.ask_torch(path if path.is_file() else None)
    looks = LOOKS | {
        "torch": partial(software.check_torch, said),
        "model": partial(software.check_model, said),
    }
    return {name: _look(look) for name, look in looks.items()}


def report(findings: Mapping[str, Finding]) -> str:
    """A line for each: the mark, what was checked, what was found, and what to do."""
    return "\n".join(
        f"{one.mark:<5}{name:<12}{one.found}{f' -> {one.remedy}' if one.remedy else ''}"
        for name, one in findings.items()
    )


def main() -> int:
    """Prints the report; returns the exit code: 0, or 2 if there is something to fix."""
    findings = examine()
    print(report(findings))
    return 2 if any(one.mark == "fix" for one in findings.values()) else 0


def _look(look: Callable[[], Finding]) -> Finding:
    """What a look finds; if it fails, that."""
    try:
        return look()
    except ImportError as error:
        missing = error.name or "a package"
        return note(f"not checked, since {missing} cannot be imported", "see packages")
    except Exception as error:  # the rest is worth seeing all the same
        return fix(f"could not be checked ({type(error).__name__}: {error})", "see what it names")
