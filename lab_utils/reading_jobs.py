"""Reads many images, one after another or in several processes, and says what there is to print.

A page keeps one processor busy: several at once, each in a process with one thread, are read faster
than one after another with several threads.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab_utils.signals import ENDING_SIGNALS
from text_recognizer.errors import FirstPageWarning, RecognizerError
from text_recognizer.images import LoadedImage, image_name, load_pages, printable
from text_recognizer.model_file import default_model_path

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading, ParagraphTextRecognizer


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to read, and where the picture of its lines goes."""

    image: str
    picture: Path | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
    """How all images are read and shown."""

    model: Path | None
    allow_private_addresses: bool
    language_model: str
    as_json: bool
    heading: bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """What to print about one image."""

    text: str | None
    """None if no page of the image can be read."""
    notes: list[str]
    """For stderr, a line each."""
    failed: bool = False
    """Whether something that was asked for is missing: a page, or the picture of its lines."""


def read_all(
    jobs: Sequence[Job], settings: Settings, processes: int, show: Callable[[Answer], None]
) -> None:
    """Reads all images and shows the answers in their order, each as soon as it is its turn.

    On Ctrl-C, or if a process ends, what was read but not yet shown is shown first. Raises
    RecognizerError if the model can't be loaded or a process ends.
    """
    if processes == 1:
        recognizer = _recognizer(settings)
        for job in jobs:
            show(_answer(recognizer, job, settings))
        return
    settings = dataclasses.replace(settings, model=settings.model or default_model_path())
    with _submitted(jobs, settings, processes) as futures:
        waiting = deque(futures)
        try:
            while waiting:
                answer = waiting[0].result()
                waiting.popleft()
                show(answer)
        except (BrokenProcessPool, KeyboardInterrupt) as end:
            for future in waiting:
                if future.done() and not future.exception():
                    show(future.result())
            if isinstance(end, KeyboardInterrupt):
                raise
            raise RecognizerError(
                "A process that reads pages ended, perhaps for lack of memory; give fewer --jobs."
            ) from None


@contextmanager
def _submitted(
    jobs: Sequence[Job], settings: Settings, processes: int
) -> Iterator[list[Future[Answer]]]:
    """The answers to come, from processes that end with the block or with this process."""
    # Not forked: a fork of a process with threads, as PyTorch has, can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _end_with_parent)
    others = multiprocessing.active_children()
    # Ctrl-C reaches every process of the terminal, but only this one shall act on it.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        futures = [pool.submit(_answer_in_worker, job, settings) for job in jobs]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        yield futures
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.kill()


def _end_with_parent() -> None:
    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _answer_in_worker(job: Job, settings: Settings) -> Answer:
    import torch

    torch.set_num_threads(1)
    return _answer(_loaded_once(settings), job, settings)


def _recognizer(settings: Settings) -> "ParagraphTextRecognizer":
    from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer

    return ParagraphTextRecognizer(
        settings.model,
        allow_private_addresses=settings.allow_private_addresses,
        language_model=settings.language_model,
    )


_loaded_once = functools.lru_cache(maxsize=1)(_recognizer)


def _answer(recognizer: "ParagraphTextRecognizer", job: Job, settings: Settings) -> Answer:
    readings: list[PageReading] = []
    problems: list[str] = []
    of = f"{printable(image_name(job.image))}: " if settings.heading else ""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", FirstPageWarning)  # such as frames left out
        try:
            for page, reading in _readings(recognizer, job.image):
                readings.append(reading)
                if job.picture and not problems:
                    problems += _draw(page, reading, job.picture, len(readings))
        except RecognizerError as error:
            problems.append(str(error))
    notes = [f"note: {of}{one.message}" for one in raised if one.category is FirstPageWarning]
    for number, reading in enumerate(readings, start=1):
        page = f"page {number}: " if len(readings) > 1 else ""
        if reading.note:
            notes.append(f"note: {of}{page}{reading.note}")
    text = _shown(job.image, readings, settings) if readings else None
    return Answer(text, notes + problems, bool(problems))


def _readings(
    recognizer: "ParagraphTextRecognizer", image: str
) -> Iterator[tuple[LoadedImage, "PageReading"]]:
    """The pages of a PDF or TIFF file, or the one page of any other image."""
    allow = recognizer.allow_private_addresses
    start = time.perf_counter()
    for page in load_pages(image, allow_private_addresses=allow):
        loading = time.perf_counter() - start
        reading = recognizer.read(page)
        yield page, dataclasses.replace(reading, seconds=reading.seconds + loading)
        start = time.perf_counter()


def _shown(image: str, readings: Sequence["PageReading"], settings: Settings) -> str:
    name, several = image_name(image), len(readings) > 1
    parts = []
    for number, reading in enumerate(readings, start=1):
        if settings.as_json:
            page = {"page": number} if several else {}
            parts.append(json.dumps({"image": name, **page, **dataclasses.asdict(reading)}))
        else:
            parts.append(f"--- page {number} ---\n{reading.text}" if several else reading.text)
    text = "\n".join(parts)
    if settings.heading and not settings.as_json:
        return f"==> {printable(name)} <==\n{text}\n"
    return text


def _draw(page: LoadedImage, reading: "PageReading", picture: Path, number: int) -> list[str]:
    """Writes the page as the network saw it (at most 1600 px) with the lines found on it.

    Returns what went wrong, so that the text is not lost with it.
    """
    from text_recognizer.overlay import draw_lines

    if number > 1:
        picture = picture.with_stem(f"{picture.stem}-page-{number}")
    drawn = draw_lines(page.page, reading.lines, page.page.width / page.width)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(picture)
    except OSError as error:
        why = error.strerror or error
        return [f"{picture} can't be written ({why}); give --overlay another place."]
    return []
