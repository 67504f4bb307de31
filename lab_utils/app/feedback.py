"""What users say about wrong readings: one row of a table each, and the image as a file.

Anyone who can open the page may write to this folder, so it is bounded, and a cell is never a
formula.
"""

import fcntl
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from lab_utils.app.limits import MAX_CORRECTION, MAX_FEEDBACK_BYTES
from lab_utils.tables import csv_row
from text_recognizer.errors import RecognizerError
from text_recognizer.files import replacing
from text_recognizer.images import format_of

COLUMNS = ("time", "image", "read", "corrected")


class FeedbackFolder:
    """A folder with `feedback.csv` and the images in `images/`, named by their SHA-256.

    Columns: time (UTC, ISO 8601), image (name of the file), read (the text that was read),
    corrected (the right one, or empty). No cell is a formula to a spreadsheet; read the table with
    `lab_utils.tables.read_table`.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_FEEDBACK_BYTES) -> None:
        self.images = path / "images"
        self.table = path / "feedback.csv"
        self.max_bytes = max_bytes

    def add(self, image: bytes, read: str, corrected: str = "") -> None:
        """Adds a row, and the image where it is not there yet.

        Raises RecognizerError for a correction that is too long, and where the folder is full or
        cannot be written.
        """
        if len(corrected) > MAX_CORRECTION:
            raise RecognizerError(
                f"The text has more than {MAX_CORRECTION} characters; send only the wrong lines."
            )
        suffix = (format_of(image[:32]) or "image").lower()
        name = f"{hashlib.sha256(image).hexdigest()}.{suffix}"
        cells = (datetime.now(UTC).isoformat(timespec="seconds"), name, read, corrected)
        try:
            self._add(self.images / name, image, cells)
        except OSError as error:
            raise RecognizerError(
                f"The feedback was not kept ({error.strerror}); tell the person who runs this app."
            ) from None

    def _add(self, path: Path, image: bytes, cells: tuple[str, ...]) -> None:
        self.images.mkdir(parents=True, exist_ok=True)
        with self.table.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # for threads and processes
            images = [one for one in self.images.iterdir() if one.name[0] != "."]
            table_bytes = os.fstat(file.fileno()).st_size
            rows = [cells] if table_bytes else [COLUMNS, cells]
            text = "".join(map(csv_row, rows)).encode("utf-8", "replace")
            added = len(text) + (0 if path in images else len(image))
            if sum(one.stat().st_size for one in images) + table_bytes + added > self.max_bytes:
                raise RecognizerError(
                    "The folder for feedback is full, so this was not kept; "
                    "tell the person who runs this app."
                )
            if path not in images:
                with replacing(path) as whole:
                    whole.write_bytes(image)
            file.write(text)
