"""Keeps what users say about wrong readings: one row of a table each, and the image as a file.

Anyone who can open the page may write to this folder, so it is bounded, and a cell is never a
formula. The page's last readings wait in memory, so that feedback always pairs a text with the
very image it was read from.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
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
        self._lock = threading.Lock()

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
        row = csv_row(cells).encode("utf-8", "replace")
        with self._lock:
            try:
                self._add(self.path / IMAGES / name, image, row)
            except OSError as error:
                raise FeedbackError(
                    f"The feedback was not kept ({error.strerror}); "
                    "tell the person who runs this app."
                ) from None

    def _add(self, path: Path, image: bytes, row: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        if self._size() + len(row) + len(image) * is_new > self.max_bytes:
            raise FeedbackError(
                "The folder for feedback is full, so this was not kept; "
                "tell the person who runs this app."
            )
        if is_new:
            with replacing(path) as whole:
                whole.write_bytes(image)
        if not self.table.exists():
            self._begin_table()
        # One write at the file's end: rows of several processes do not mix.
        with self.table.open("ab", buffering=0) as file:
            file.write(row)

    def _begin_table(self) -> None:
        with tempfile.NamedTemporaryFile(dir=self.path, prefix=".new-") as whole:
            whole.write(csv_row(COLUMNS).encode())
            whole.flush()
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(whole.name, self.table)

    def _size(self) -> int:
        images = (file for file in (self.path / IMAGES).iterdir() if file.name[0] != ".")
        return sum(file.stat().st_size for file in (*images, self.table) if file.is_file())


def _suffix(image: bytes) -> str:
    from text_recognizer.images import format_of

    found = format_of(image[:32])
    if found is None:
        raise FeedbackError("You can only send feedback on a page that has been read.")
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
