"""What can go wrong with a service on this machine."""

from text_recognizer.errors import RecognizerError


class ServiceError(RecognizerError):
    """The service can't be started; the message says what to change."""
