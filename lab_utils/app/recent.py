"""Remembers the last readings with their images, so that feedback always pairs a text with the very
image it was read from, whatever the page shows by then."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from lab_utils.app.limits import KEPT_BYTES, KEPT_READINGS


@dataclass(frozen=True)
class Reading:
    """An image and the text that was read from it."""

    image: bytes
    text: str


class RecentReadings:
    """The newest readings, at most `count` with `max_bytes` of images in all."""

    def __init__(self, count: int = KEPT_READINGS, max_bytes: int = KEPT_BYTES) -> None:
        self._count, self._max_bytes = count, max_bytes
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, image: bytes, text: str) -> str:
        """Remembers a reading and returns the key to it, which nobody can guess."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._readings[key] = Reading(image, text)
            self._bytes += len(image)
            while len(self._readings) > self._count or self._bytes > self._max_bytes:
                _, oldest = self._readings.popitem(last=False)
                self._bytes -= len(oldest.image)
        return key

    def find(self, key: str) -> Reading | None:
        """The reading that a key stands for, while it is remembered."""
        with self._lock:
            return self._readings.get(key)
