"""Keeps what users say about wrong readings: one row of a table each, and the image as a file.

Anyone who can open the page may write to this folder, so it is bounded, and a cell is never a
formula. The page's last readings wait in memory, so that feedback always pairs a text with the
very image it was read from.
"""

import fcntl
import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path

from lab_utils.app.limits import (
    KEPT_BYTES,
    KEPT_READINGS,
    MAX_CORRECTION,
    MAX_FEEDBACK_BYTES,
)
from lab_utils.tables import csv_row
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing

COLUMNS = ("time", "image", "read", "corrected")
TABLE = "feedback.csv"
IMAGES = "images"

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


class FeedbackError(RecognizerError):
    """The feedback could not be kept."""


class FeedbackFolder:
    """A folder with `feedback.csv` and the images in `images/`, named by their SHA-256.

    Columns: time (UTC, ISO 8601), image (name of the file), read (the text that was read),
    corrected (the right one, or empty). No cell is a formula to a spreadsheet; read the table with
    `lab_utils.tables.read_table`.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_FEEDBACK_BYTES) -> None:
        self.path = path
        self.max_bytes = max_bytes

    @property
    def table(self) -> Path:
        """The CSV file."""
        return self.path / TABLE

    def add(self, image: bytes, read: str, corrected: str = "") -> None:
        """Adds a row, and the image where it is not there yet.

        Raises FeedbackError for a correction that is too long, and where the folder is full or
        cannot be written.
        """
        if len(corrected) > MAX_CORRECTION:
            raise FeedbackError(
                f"The text has more than {MAX_CORRECTION} characters; send only the wrong lines."
            )
        name = hashlib.sha256(image).hexdigest() + _suffix(image)
        cells = (datetime.now(UTC).isoformat(timespec="seconds"), name, read, corrected)
        try:
            self._add(self.path / IMAGES / name, image, cells)
        except OSError as error:
            raise FeedbackError(
                f"The feedback was not kept ({error.strerror}); tell the person who runs this app."
            ) from None

    def _add(self, path: Path, image: bytes, cells: tuple[str, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.table.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # for threads and processes
            images = [one for one in path.parent.iterdir() if one.name[0] != "."]
            table_bytes = os.fstat(file.fileno()).st_size
            rows = [cells] if table_bytes else [COLUMNS, cells]
            text = "".join(map(csv_row, rows)).encode("utf-8", "replace")
            added = len(text) + (0 if path in images else len(image))
            if sum(one.stat().st_size for one in images) + table_bytes + added > self.max_bytes:
                raise FeedbackError(
                    "The folder for feedback is full, so this was not kept; "
                    "tell the person who runs this app."
                )
            if path not in images:
                with replacing(path) as whole:
                    whole.write_bytes(image)
            file.write(text)


def _suffix(image: bytes) -> str:
    from text_recognizer.images import format_of

    found = format_of(image[:32]) or "image"
    return _SUFFIXES.get(found, f".{found.lower()}")


class RecentReadings:
    """The newest readings, at most `count` with `max_bytes` of images in all."""

    def __init__(self, count: int = KEPT_READINGS, max_bytes: int = KEPT_BYTES) -> None:
        self._count, self._max_bytes = count, max_bytes
        self._readings: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, image: bytes, text: str) -> str:
        """Remembers a reading and returns a key to it, which nobody can guess."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._readings[key] = image, text
            while len(self._readings) > self._count or self._bytes() > self._max_bytes:
                self._readings.popitem(last=False)
        return key

    def find(self, key: str) -> tuple[bytes, str] | None:
        """The image and the text of a key, while they are remembered."""
        return self._readings.get(key)

    def _bytes(self) -> int:
        return sum(len(image) for image, _ in self._readings.values())
