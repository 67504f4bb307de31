"""Environment variables that stop the lab, or a library that it uses, from working."""

import importlib.util
import os

from lab_utils.doctor.finding import Finding, fix, note, ok
from lab_utils.staging import settings
from text_recognizer.errors import RecognizerError
from text_recognizer.threads import check_thread_settings

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def check_wandb() -> Finding:
    """The variables of the wandb SDK."""
    if (found := settings.problem()) is not None:
        return fix("wandb", *found)
    return ok("wandb", "no variable stops runs from reaching the tracker")


def check_proxies() -> Finding:
    """The proxies for outgoing requests; their addresses may contain passwords."""
    named = [name for name in PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    if not named:
        return ok("proxies", "none are set")
    values = [os.environ.get(name) or os.environ[name.lower()] for name in named]
    socks = any(value.startswith("socks") for value in values)
    if socks and importlib.util.find_spec("socksio") is None:
        found = f"{', '.join(named)}: a SOCKS proxy, which the HTTP client can't use yet"
        return fix("proxies", found, "pip install socksio, or unset it")
    return note(
        "proxies",
        f"{', '.join(named)}: used only for requests that leave this machine",
        "NO_PROXY=localhost,127.0.0.1 if something local can't be reached",
    )


def check_threads() -> Finding:
    """The settings of OpenMP, which PyTorch's threads follow."""
    try:
        check_thread_settings()
    except RecognizerError as error:
        return fix("threads", str(error), "change it, or unset it")
    waits = os.environ.get("OMP_WAIT_POLICY", "passive")
    if waits.strip().lower() == "active":
        found = "OMP_WAIT_POLICY=active: threads spin, which is slow next to other programs"
        return note("threads", found, "unset OMP_WAIT_POLICY")
    return ok("threads", "threads sleep while they wait for each other")
