"""Why a tunnel can't open or stay open; each error has a sentence that says what to do."""

from text_recognizer.errors import RecognizerError

OTHER_WAYS = (
    "without ngrok, `lab app --share` makes a link through Gradio's server, and "
    "`lab tunnel --ssh user@host` through a host of your own."
)


class TunnelError(RecognizerError):
    """The tunnel can't be opened as asked; trying again would not help."""


class TunnelDownError(TunnelError):
    """The tunnel can't be opened now; it may open a little later."""
