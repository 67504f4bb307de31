"""Decodes images that came over a network in processes with limits of time and memory.

A small file can ask a decoder for minutes of work or gigabytes of memory, and there is no stopping
a decoder inside this process. A worker is this file, run as a program: it imports Pillow but not
PyTorch, stays for the next image, and is replaced when an image has used up a limit. Its pipes
carry lines of JSON, and after them the file's bytes, or the pixels as PGM. It ends when its
standard input closes, which the system does even after kill -9 of this process.

All images of a request share one `Budget` of time, so several slow ones take no longer than one.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from PIL import Image

from text_recognizer.errors import FirstPageWarning, ImageError, ImageTooLargeError
from text_recognizer.limits import DECODE_BYTES, DECODE_SECONDS
from text_recognizer.threads import usable_processors

Decoded = tuple[Image.Image, int, int, Image.Image | None]
"""The fields of an `images.LoadedImage`."""

_Answer = tuple[dict, list[Image.Image]]
"""A worker's line of JSON, and the page and its detail, or an error's line and nothing."""

_READY = b"ready\n"
_PIPE_BYTES = 2**20
_ERRORS = {error.__name__: error for error in (ImageError, ImageTooLargeError)}


class Budget:
    """The time for decoding all images of one request.

    Attributes:
        left: seconds that are left.
    """

    def __init__(self, seconds: float = DECODE_SECONDS) -> None:
        self.seconds = self.left = seconds

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        """Takes off what the block needs."""
        began = monotonic()
        try:
            yield
        finally:
            self.left -= monotonic() - began

    def refill(self, seconds: float) -> None:
        """Adds some seconds, up to what there was at first."""
        self.left = min(self.seconds, self.left + seconds)

    def used_up(self, name: str) -> ImageError:
        """The error of the image that found too little time left."""
        return ImageError(
            f"{name} takes too long to decode: all images of a request together may take "
            f"{self.seconds:g} s. Save it as PNG, or send fewer images."
        )


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextlib.contextmanager
def one_budget(budget: Budget | None = None) -> Iterator[Budget]:
    """What is decoded inside the block, in this thread or task, shares one budget of time.

    Without a `budget` it is that of the block around this one, or a new one.
    """
    budget = budget or _budget.get() or Budget()
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        _budget.reset(token)


def decode(data: bytes, name: str) -> Decoded:
    """Decodes an image in a worker, as `images.decode_here` does; from any thread.

    Args:
        data: the image's file.
        name: what errors call the image.

    Raises:
        ImageError: the image is damaged, or the budget of time is used up (see `one_budget`).
        ImageTooLargeError: it needs more than DECODE_BYTES, or is too large in another way.
    """
    return _workers(os.getpid()).decode(data, {"name": name})[0]


def decode_page(data: bytes, name: str, number: int) -> tuple[Decoded, int]:
    """Decodes a page of a PDF or TIFF in a worker, as `images.decode_page_here` does; returns it
    and how many there are. Args and errors are those of `decode`; number: the page's, from 0."""
    return _workers(os.getpid()).decode(data, {"name": name, "page": number})


def start() -> None:
    """Starts the first worker, so that the first image need not wait for it."""
    _workers(os.getpid()).start()


@cache
def _workers(pid: int) -> "_Workers":
    # A fork gets workers of its own: two processes must not share a pipe.
    workers = _Workers(min(4, max(2, usable_processors())))
    atexit.register(workers.end)
    return workers


class _Workers:
    """At most `most` workers; one decodes one image at a time."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._idle: list[_Worker] = []

    def start(self) -> None:
        if not self._idle:
            self._idle.append(_Worker())

    def decode(self, data: bytes, request: dict) -> tuple[Decoded, int]:
        with self._places, one_budget() as budget:
            answer = self._ask(data, request, budget, tries_left=1)
        return _result(*answer)

    def _ask(self, data: bytes, request: dict, budget: Budget, tries_left: int) -> _Answer:
        if budget.left < 0.001:  # a timer of 0 s would never ring
            raise budget.used_up(request["name"])
        worker = self._take()
        try:
            with budget.spent():
                answer = worker.ask(data, request | {"seconds": budget.left})
        except BaseException as error:  # also Ctrl-C: half an answer is still in the pipe
            worker.end()
            if not isinstance(error, EOFError | BrokenPipeError):
                raise
            if worker.was_killed() and tries_left:
                self.end()  # the others may have been killed too, a moment ago
                return self._ask(data, request, budget, tries_left - 1)
            raise worker.why_ended(request["name"], budget) from None
        self._idle.append(worker)
        return answer

    def _take(self) -> "_Worker":
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                worker = _Worker()
            if worker.is_ready():
                return worker
            worker.end()

    def end(self) -> None:
        while self._idle:
            self._idle.pop().end()


def _result(head: dict, images: list[Image.Image]) -> tuple[Decoded, int]:
    """What a worker said: raises its error, or passes its warnings on and returns the image and
    how many pages there are."""
    if "error" in head:
        raise _ERRORS[head["error"]](head["message"])
    for message in head["warnings"]:
        warnings.warn(message, FirstPageWarning, stacklevel=2)
    page, detail = (*images, None)[:2]
    return (page, *head["size"], detail), head["pages"]


class _Worker:
    """The process, as this side sees it."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[1])
        environment = {
            "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)]),
            # Each further arena takes 64 MB of addresses, which the limit counts.
            "MALLOC_ARENA_MAX": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "text_recognizer.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where libtiff writes its warnings
            env=os.environ | environment,
            pipesize=_PIPE_BYTES,
        )
        self._greeted = False

    def is_ready(self) -> bool:
        """Whether it runs. Raises RuntimeError if it could not even start."""
        if not self._greeted:
            self._greeted = self._process.stdout.readline() == _READY
            if not self._greeted:
                self.end()
                raise RuntimeError(f"The decoder did not start: exit {self._process.returncode}.")
        return self._process.poll() is None

    def ask(self, data: bytes, request: dict) -> _Answer:
        """Raises EOFError or BrokenPipeError if it ends before it has answered."""
        requests, answers = self._process.stdin, self._process.stdout
        _send(requests, request | {"bytes": len(data)})
        requests.write(data)
        requests.flush()
        head = _receive(answers)
        return head, [_receive_image(answers) for _ in range(head.get("images", 0))]

    def was_killed(self) -> bool:
        """Whether it was ended from outside, perhaps before it saw the image."""
        return self._process.returncode == -signal.SIGKILL

    def why_ended(self, name: str, budget: Budget) -> ImageError:
        """The error of an image on which it ended."""
        if self._process.returncode == -signal.SIGALRM:
            return budget.used_up(name)
        return ImageError(f"{name} is damaged and can't be decoded; save or copy it once more.")

    def end(self) -> None:
        """Ends it at once; returns when it is gone."""
        self._process.kill()  # does not change how it ended if it has ended by itself
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # there may be bytes that it did not take
                pipe.close()


def _send(stream: BinaryIO, head: dict) -> None:
    stream.write(json.dumps(head).encode() + b"\n")
    stream.flush()


def _receive(stream: BinaryIO) -> dict:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return json.loads(line)


def _receive_image(stream: BinaryIO) -> Image.Image:
    """A gray image in PGM, which Pillow writes without a copy; `tobytes` takes ten times longer."""
    _, size, most = (stream.readline() for _ in range(3))
    if not most:
        raise EOFError
    width, height = map(int, size.split())
    pixels = _exactly(stream, width * height)
    return Image.frombuffer("L", (width, height), pixels, "raw", "L", 0, 1)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def main() -> None:
    """Answers requests on standard input until it closes."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends this process, whatever it does
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    answers.write(_READY)
    answers.flush()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            head = _receive(requests)
            data = _exactly(requests, head["bytes"])
            signal.setitimer(signal.ITIMER_REAL, head["seconds"])
            _limit_memory()
            _answer(answers, data, head["name"], head.get("page"))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory() -> None:
    """Allows DECODE_BYTES more than the process has now. macOS has no such limit."""
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + DECODE_BYTES
        if most == resource.RLIM_INFINITY or limit < most:
            resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _answer(answers: BinaryIO, data: bytes, name: str, page: int | None) -> None:
    from text_recognizer.images import decode_here, decode_page_here

    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            if page is None:
                loaded, pages = decode_here(data, name), 1
            else:
                loaded, pages = decode_page_here(data, name, page)
    except ImageError as error:
        kind = ImageTooLargeError if isinstance(error, ImageTooLargeError) else ImageError
        _send(answers, {"error": kind.__name__, "message": str(error)})
        return
    images = [image for image in (loaded.page, loaded.detail) if image is not None]
    notes = [str(one.message) for one in notes if one.category is FirstPageWarning]
    size = (loaded.width, loaded.height)
    _send(answers, {"size": size, "images": len(images), "warnings": notes, "pages": pages})
    for image in images:
        image.save(answers, "PPM")
    answers.flush()


if __name__ == "__main__":
    main()
