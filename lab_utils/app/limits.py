"""The limits that the app puts on requests and on what it keeps, each beside the reason for it.

Limits of an image itself are the recognizer's, in `text_recognizer.limits`.
"""

from text_recognizer.limits import MAX_BASE64_BYTES

MIB = 2**20

MAX_UPLOAD_BYTES = MAX_BASE64_BYTES
"""Bytes of an uploaded file, the same as of one that is sent as text."""

MAX_REQUEST_BYTES = MAX_BASE64_BYTES * 4 // 3 + MIB
"""Bytes of a request's body: the largest image as base64, and room for the JSON around it."""

MAX_JSON_VALUES = 100_000
"""Values in a request's JSON: each takes some 100 bytes once it is read. The page's own requests
have a few dozen, but commas in texts count as well, as in a data URI that is not base64."""

MAX_INPUTS = 8
"""Values that a call may have; no function of the page takes so many."""

MAX_CACHE_BYTES = 512 * MIB
"""Bytes of the uploaded pictures that are still kept; over it, no more are taken."""

LEAST_UPLOAD_BYTES = 64 * 1024
"""What a smaller file counts as, so that the number of files is bounded as well."""

CACHE_SECONDS = 3600
"""Age at which an uploaded picture is deleted."""

CACHE_CHECK_SECONDS = 300

READERS = 2
"""Pages that are read at once."""

QUEUE_SIZE = 16
"""Pages that wait for a reader: some seconds' work. Further ones are refused."""

MAX_SESSIONS = 16
"""Browser tabs of which Gradio keeps the inputs; the page needs none of them."""

LOGIN_BYTES = 8192
LOGINS_KEPT = 1000

MAX_CORRECTION = 10_000
"""Characters of a corrected text."""

MAX_FEEDBACK_BYTES = 500 * MIB
"""Bytes of the feedback folder, pictures and table."""
