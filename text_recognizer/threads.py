"""Threads that sleep while they wait for each other, and no more of them than processors; less
memory for operators that are kept.

OpenMP's threads spin while they wait, which is faster only on an idle machine. Beside other work,
or in a container with a quota of processor time, they burn the time that the others need: reading a
page takes four to twenty times as long.

oneDNN keeps an operator for each size that it has met, and nearly every line has a width of its
own. By itself it keeps 1,024, which were 190 MB after 60 pages; with 200, pages take as long.

These settings are read once, when PyTorch is loaded.
"""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from text_recognizer.errors import RecognizerError

WAIT_POLICIES = ("active", "passive")
_KEPT_OPERATORS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_CGROUPS = Path("/sys/fs/cgroup")


def prepare_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets what OpenMP (GNU's and Intel's) and oneDNN read, where you have not set it yourself.

    An empty variable counts as not set. Has an effect only before PyTorch is loaded.
    """
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KMP_BLOCKTIME", _KEPT_OPERATORS):
        if not environment.get(name, "unset").strip():
            del environment[name]  # OpenMP would complain about it
    environment.setdefault("OMP_WAIT_POLICY", "passive")
    environment.setdefault("KMP_BLOCKTIME", "0")  # ms that Intel's threads spin before they sleep
    environment.setdefault(_KEPT_OPERATORS, "200")
    quota = processor_quota()
    if quota is not None and quota < _allowed_processors():
        environment.setdefault("OMP_NUM_THREADS", str(max(1, math.ceil(quota))))


def check_thread_settings(environment: MutableMapping[str, str] = os.environ) -> None:
    """Raises RecognizerError for a setting that OpenMP would silently ignore."""
    policy = environment.get("OMP_WAIT_POLICY", "").strip() or "passive"
    if policy.lower() not in WAIT_POLICIES:
        raise RecognizerError(f'OMP_WAIT_POLICY is "{policy}"; set it to passive or active.')
    for name, least in (("OMP_NUM_THREADS", 1), ("KMP_BLOCKTIME", 0)):
        value = environment.get(name, "").strip() or "1"
        if name == "KMP_BLOCKTIME" and value.lower() == "infinite":
            continue
        # A number for each level of nested threads: PyTorch has one level, the first.
        numbers = value.split(",") if name == "OMP_NUM_THREADS" else [value]
        if not all(one.strip().isdecimal() and int(one) >= least for one in numbers):
            raise RecognizerError(f'{name} is "{value}"; set it to a whole number from {least} up.')


def usable_processors() -> int:
    """How many processors this process may use: those of its affinity, within its quota."""
    quota = processor_quota()
    allowed = _allowed_processors()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def processor_quota(cgroups: Path = _CGROUPS) -> float | None:
    """Processors' worth of time that the container may use; None where there is no limit.

    Linux's control groups, version 2, as a container sees them: its own group is the root.
    """
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number: no limit
        return None
    return share if share > 0 else None


def _allowed_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
