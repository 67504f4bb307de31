"""What can go wrong with a service on this machine, told in one line on a terminal."""

from text_recognizer.errors import RecognizerError


class ServiceError(RecognizerError):
    """The service cannot be started, and the message says what to change."""
