"""Names that others hold on to: the API's endpoints, and the ids of the page's elements.

Tests in a browser, the notebooks and the documentation use these; the style sheet repeats them.
"""

PREDICT = "predict"
"""Endpoint that takes an image as Gradio's clients send it, and returns the text."""

PREDICT_BASE64 = "predict_base64"
"""Endpoint that takes base64 text or a data URI, and returns the text."""

READ_BASE64 = "read_base64"
"""Endpoint that takes the same, and returns the whole reading: text, note, and lines."""

ENDPOINTS = (PREDICT, PREDICT_BASE64, READ_BASE64)

TABS = "ways"
IMAGE = "image"
READ = "read"
DOCUMENT = "document"
READ_DOCUMENT = "read-document"
CANVAS = "canvas"
READ_DRAWING = "read-drawing"
SAMPLES = "samples"
TEXT = "text"
"""The text as a list: `.line` is a line of it, `.doubtful` an item to check; `.copy` a button."""

MESSAGE = "message"
FOUND = "found"
FEEDBACK = "feedback"
CORRECTION = "correction"
SEND_FEEDBACK = "send-feedback"
FEEDBACK_MESSAGE = "feedback-message"
