"""Reads many images, one after another or in several processes, and says what there is to print.

A page keeps one processor busy: several at once, each in a process with one thread, are read faster
than one after another with several threads.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import re
import signal
import threading
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
    """None if the image can't be read."""
    notes: list[str]
    """For stderr, a line each."""


def read_all(
    jobs: Sequence[Job], settings: Settings, processes: int, show: Callable[[Answer], None]
) -> None:
    """Reads all images and shows the answers in their order, each as soon as it is its turn.

    On Ctrl-C, what was read but not yet shown is shown before KeyboardInterrupt goes on.
    Raises RecognizerError if the model can't be loaded or a process ends.
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
        except BrokenProcessPool:
            raise RecognizerError(
                "A process that reads pages ended, perhaps for lack of memory; give fewer --jobs."
            ) from None
        except KeyboardInterrupt:
            for future in waiting:
                if future.done() and not future.exception():
                    show(future.result())
            raise


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
    notes: list[str] = []
    text = None
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", FirstPageWarning)  # such as pages left out
        try:
            reading = _read(recognizer, job)
            text = _shown(job.image, reading, settings)
            notes += [f"note: {reading.note}"] * bool(reading.note)
        except RecognizerError as error:
            notes.append(str(error))
    return Answer(text, [*(f"note: {one.message}" for one in raised), *notes])


def _read(recognizer: "ParagraphTextRecognizer", job: Job) -> "PageReading":
    source: str | bytes = job.image
    if job.picture and re.match(r"\s*https?:", job.image, re.IGNORECASE):
        from text_recognizer.fetching import fetch

        # Once for the reading and the picture: the second answer might be another image.
        source = fetch(job.image, allow_private_addresses=recognizer.allow_private_addresses)
    reading = recognizer.read(source)
    if job.picture:
        _draw(source, reading, job.picture)
    return reading


def _shown(image: str, reading: "PageReading", settings: Settings) -> str:
    name = image if len(image) <= 200 else f"{image[:60]}..."
    if settings.as_json:
        return json.dumps({"image": name, **dataclasses.asdict(reading)})
    return f"==> {name} <==\n{reading.text}\n" if settings.heading else reading.text


def _draw(source: str | bytes, reading: "PageReading", picture: Path) -> None:
    """Writes the page as the network saw it (at most 1600 px) with the lines found on it."""
    from text_recognizer.images import load_image
    from text_recognizer.overlay import draw_lines

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FirstPageWarning)  # told when it was read
        loaded = load_image(source)
    drawn = draw_lines(loaded.page, reading.lines, loaded.page.width / loaded.width)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(picture)
    except OSError as error:
        reason = error.strerror or error
        raise RecognizerError(
            f"{picture} cannot be written ({reason}); give --overlay another name."
        ) from None
