"""Decoding apart: no image holds a worker longer or with more than the limits allow, a worker that
ends is replaced, errors are the same sentences, and nothing is left of it."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bad_requests import png
from conftest import python_process, until
from hostile_images import HOSTILE_IMAGES, encoded, gray

from text_recognizer import decoding
from text_recognizer.decoding import Budget, one_budget
from text_recognizer.errors import ImageError, ImageTooLargeError
from text_recognizer.images import decode_here, load_image, load_pages
from text_recognizer.limits import DECODE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

WHO_DECODES = """
import sys
from pathlib import Path
from text_recognizer.images import load_image
print(load_image(Path(sys.argv[1]).read_bytes()).width, flush=True)
sys.stdin.read()
"""


def workers(parent: int | None = None) -> list[int]:
    """The decoders among a process's children."""
    of = parent or os.getpid()
    found = " ".join(file.read_text() for file in Path(f"/proc/{of}/task").glob("*/children"))
    return [
        int(pid)
        for pid in found.split()
        if b"text_recognizer.decoding" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def good() -> None:
    assert load_image(png(60, 40)).page.tobytes() == decode_here(png(60, 40), "").page.tobytes()


def test_a_worker_that_is_killed_is_replaced():
    good()
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    good()


REFUSALS = {
    "JPEG: 3,000 scans": (ImageError, "all images of a request together may take 1 s"),
    "TIFF: a megabyte named 5,000 times": (ImageTooLargeError, "too large to be decoded"),
    "PNG: one pixel row too many": (ImageTooLargeError, "at most 67 million are read"),
    "TIFF: a giant tile": (ImageTooLargeError, "30000 x 30000"),
}


@pytest.mark.filterwarnings("ignore::text_recognizer.errors.FirstPageWarning")
@pytest.mark.parametrize("name", HOSTILE_IMAGES)
def test_a_hostile_image_is_read_or_refused_within_the_limits(name):
    data = HOSTILE_IMAGES[name]()
    if name in REFUSALS:
        error, words = REFUSALS[name]
        # That one uses up all the time that it gets.
        budget = Budget(1.0 if name == "JPEG: 3,000 scans" else DECODE_SECONDS)
        with pytest.raises(error, match=words) as refused, one_budget(budget):
            load_image(data)
        assert "\n" not in str(refused.value)
    else:
        with contextlib.suppress(ImageError):
            assert max(load_image(data).page.size) <= 1600
    good()


def test_the_pages_of_a_strangers_document_share_one_budget_of_time(monkeypatch):
    """Each of them takes 3 s by this clock, and a document has 8 s and 1 s more for each page."""
    clock = itertools.count(0.0, 3.0)
    monkeypatch.setattr(decoding, "monotonic", lambda: next(clock))
    pages = load_pages(encoded(gray(), "TIFF", save_all=True, append_images=[gray()] * 4))
    for _ in range(4):
        good()  # another request's
        next(pages)
    with pytest.raises(ImageError, match="takes too long to decode"):
        next(pages)


def test_a_fork_has_workers_of_its_own():
    good()
    before = workers()
    child = os.fork()
    if child == 0:
        try:
            good()
            os._exit(0 if not set(workers()) & set(before) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    good()
    assert workers() == before


def test_a_worker_ends_with_its_parent_also_after_kill_9(tmp_path):
    page = tmp_path / "page.png"
    gray().save(page)
    with python_process("-c", WHO_DECODES, page, stdin=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == "64\n"
        (worker,) = workers(parent.pid)
        parent.kill()
    assert until(lambda: not os.path.exists(f"/proc/{worker}"))
