"""The limits that the app puts on requests and on what it keeps, each beside the reason for it.

Limits of an image itself are the recognizer's, in `text_recognizer.limits`.
"""

from text_recognizer.limits import MAX_BASE64_BYTES

MIB = 2**20

MAX_UPLOAD_BYTES = MAX_BASE64_BYTES
"""Bytes of an uploaded file, the same as of one that is sent as text."""

MAX_REQUEST_BYTES = MAX_BASE64_BYTES * 4 // 3 + MIB
"""Bytes of a request's body: the largest image as base64, and room for the JSON around it."""

MAX_OPEN_BODY_BYTES = 8 * MAX_REQUEST_BYTES
"""Bytes of all the bodies that are held at once."""

MAX_CACHE_BYTES = 512 * MIB
"""Bytes of uploaded pictures on the disk; over it, no more are taken until some are deleted."""

CACHE_SECONDS = 3600
"""Age at which an uploaded picture is deleted."""

CACHE_CHECK_SECONDS = 300

READERS = 2
"""Pages that are read at once."""

QUEUE_SIZE = 16
"""Pages that wait for a reader: some seconds' work. Who comes later is told to come again."""

MAX_SESSIONS = 500
"""Browser tabs that Gradio remembers; the page needs nothing of an older one."""

KEPT_READINGS = 64
KEPT_BYTES = 64 * MIB
"""The last readings and their images, kept in memory for feedback."""

MAX_CORRECTION = 10_000
"""Characters of a corrected text."""

MAX_FEEDBACK_BYTES = 500 * MIB
"""Bytes of the feedback folder, pictures and table."""
