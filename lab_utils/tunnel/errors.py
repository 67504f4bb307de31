"""What keeps a tunnel from opening or staying open, each with a sentence that says what to do."""

from text_recognizer.errors import RecognizerError

OTHER_WAYS = (
    "without ngrok, `lab app --share` makes a link through Gradio's server, and "
    "`lab tunnel --ssh user@host` through a host of your own."
)


class TunnelError(RecognizerError):
    """The tunnel cannot be opened as asked; trying again would not help."""


class TunnelDownError(TunnelError):
    """The tunnel cannot be opened now; it may open a little later."""
