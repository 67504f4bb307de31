"""Decoding apart: no image holds a worker longer or with more than the limits allow, a worker that
ends is replaced, errors are the same sentences, and nothing is left of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from bad_requests import png
from hostile_images import HOSTILE_IMAGES, gray

from text_recognizer import decoding
from text_recognizer.errors import ImageError, ImageTooLargeError
from text_recognizer.images import decode_here, load_image
from text_recognizer.places import project_folder

WHO_DECODES = """
import sys
from text_recognizer import decoding, images
from pathlib import Path
images.load_image(Path(sys.argv[1]).read_bytes())
children = Path(f"/proc/self/task/{__import__('os').getpid()}/children").read_text().split()
print(*children, flush=True)
sys.stdin.read()
"""


def good() -> None:
    assert load_image(png(60, 40)).page.tobytes() == decode_here(png(60, 40), "").page.tobytes()


@pytest.mark.parametrize("name", HOSTILE_IMAGES)
def test_a_hostile_image_takes_no_more_than_the_limits(name):
    data = HOSTILE_IMAGES[name]()
    with contextlib.suppress(ImageError):  # what can be read may be
        loaded = load_image(data)
        assert max(loaded.page.size) <= 1600
    good()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("JPEG: 3,000 scans", ImageError, "more than 1 s to decode; save it as PNG"),
        ("TIFF: a megabyte named 5,000 times", ImageError, "The image "),
        ("PNG: one pixel row too many", ImageTooLargeError, "at most 67 million are read"),
        ("TIFF: a giant tile", ImageTooLargeError, "30000 x 30000"),
        ("ICO: 4 GB", ImageError, "is not an image in PNG, JPEG"),
    ],
)
def test_it_is_refused_with_a_sentence(name, error, words, short_limit):
    with pytest.raises(error, match=words) as refused:
        load_image(HOSTILE_IMAGES[name]())
    assert "\n" not in str(refused.value)
    good()


@pytest.fixture
def short_limit(monkeypatch):
    """Workers that allow one second, for the time of a test."""
    monkeypatch.setenv("LAB_TEST_DECODE_SECONDS", "1")
    yield


def test_a_worker_that_is_killed_is_replaced():
    good()
    for pid in decoding.workers():
        os.kill(pid, signal.SIGKILL)
    good()


def test_a_fork_has_workers_of_its_own():
    good()
    before = decoding.workers()
    child = os.fork()
    if child == 0:
        try:
            good()
            os._exit(0 if not set(decoding.workers()) & set(before) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    good()
    assert decoding.workers() == before


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_worker_ends_with_its_parent_also_after_kill_9(tmp_path):
    page = tmp_path / "page.png"
    gray().save(page)
    parent = subprocess.Popen(
        [sys.executable, "-c", WHO_DECODES, page],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=project_folder(),
        text=True,
    )
    with parent:
        (worker,) = parent.stdout.readline().split()
        parent.kill()
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{worker}")
