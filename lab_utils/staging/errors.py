"""What goes wrong between the lab and the tracker, in one line that says what to do."""

from text_recognizer.errors import RecognizerError


class StagingError(RecognizerError):
    """A run, an artifact or a file is not what was asked for, and nothing was changed."""
