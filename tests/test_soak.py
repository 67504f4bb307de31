"""Good and bad requests for a long time: memory, files, temporary files and threads end where they
began. LAB_SOAK_SECONDS sets how long each edge is asked; ten minutes by default."""

import itertools
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from bad_requests import BAD_REQUESTS, text
from hostile_images import HOSTILE_IMAGES
from test_generated_requests import EDGES, GOOD, SLOW, app, check, gateway  # noqa: F401 (fixtures)

SECONDS = float(os.environ.get("LAB_SOAK_SECONDS", 600))
MEMORY = 100e6
"""Bytes by which the process may have grown after it has warmed up."""


def state() -> dict[str, int]:
    """What must not grow, for this process."""
    status = Path("/proc/self/status").read_text()
    return {
        "memory": 1024 * int(status.split("VmRSS:")[1].split()[0]),
        "files": len(os.listdir("/proc/self/fd")),
        "temporary": len(os.listdir(tempfile.gettempdir())),
        "threads": threading.active_count(),
    }


def bodies(form) -> list[bytes]:
    quick = [make() for name, make in HOSTILE_IMAGES.items() if name not in SLOW]
    bad = [one.body for one in BAD_REQUESTS if not one.is_http_only]
    return bad + [json.dumps(form(text(data))).encode() for data in [*quick, GOOD]]


@pytest.mark.nightly
@EDGES
def test_an_edge_ends_as_it_began(edge, request):
    ask, _, form = request.getfixturevalue(edge)
    requests = bodies(form)
    for body in requests:  # everything is loaded, and each worker started
        check(ask, form, body)
    before = state()
    until = time.monotonic() + SECONDS
    for body in itertools.cycle(requests):
        check(ask, form, body)
        if time.monotonic() > until:
            break
    after = state()
    assert after["memory"] - before["memory"] < MEMORY, (before, after)
    for name, most in (("files", 5), ("temporary", 5), ("threads", 3)):
        assert after[name] - before[name] <= most, (before, after)
