"""What can go wrong between this process and a model service. Each message is one sentence with the
service's address, what happened, and what to do."""

from text_recognizer.errors import RecognizerError


class ServiceError(RecognizerError):
    """A model service gave no text: it can't be reached, is busy, too slow or broken."""


class RequestRefusedError(ServiceError):
    """The service refuses this very image or request; the message is the service's sentence."""
