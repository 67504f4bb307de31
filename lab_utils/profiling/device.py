"""What a profile was taken on: without it, its figures are numbers about nothing."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from text_recognizer.places import PROJECT
from text_recognizer.threads import usable_processors


def describe_device(device: torch.device) -> dict[str, Any]:
    """What the figures are about, ready for JSON.

    A processor has kind "cpu", name, cores and threads; a GPU kind "cuda", name, driver,
    memory_bytes, and the processor beside it as `host`. What can't be found out is None.
    """
    name, cores = _processor_name(), usable_processors()
    processor = {"kind": "cpu", "name": name, "cores": cores, "threads": torch.get_num_threads()}
    if device.type == "cpu":
        return processor
    properties = torch.cuda.get_device_properties(device)
    driver = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return {
        "kind": device.type,
        "name": properties.name,
        "driver": driver.partition("\n")[0] or None,
        "memory_bytes": properties.total_memory,
        "host": processor,
    }


def describe_versions() -> dict[str, str | None]:
    """The versions of what takes part in a measurement; None for what is not there."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "system": f"{platform.system()} {platform.release()}",
    }


def project_commit() -> str | None:
    """What `LAB_COMMIT` says; else the commit that is checked out, with "+changes" if files differ
    from it; None for a copy without git's folder.

    The variable wins, since a copy of a checkout can hold a folder of git's that is out of date.
    """
    if given := os.environ.get("LAB_COMMIT"):
        return given
    if not (PROJECT / ".git").exists():
        return None  # the current folder may belong to another project
    commit = _output("git", "-C", str(PROJECT), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(PROJECT), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changes else commit or None


def _processor_name() -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text(errors="replace") if file.is_file() else ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _output(*command: str) -> str:
    """What a program prints; "" if it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
