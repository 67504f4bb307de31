"""What can go wrong between this process and a model service, by what the caller can do about it.
Each message is one sentence with the service's address, what happened, and what to do."""

from text_recognizer.errors import RecognizerError


class ServiceError(RecognizerError):
    """A model service gave no text."""


class ServiceAddressError(ServiceError):
    """The address is not one that a service can have."""


class ServiceUnreachableError(ServiceError):
    """No connection to the service could be made, or it broke off again and again."""


class ServiceBusyError(ServiceError):
    """The service, or the gateway before it, is there but takes no request now."""


class ServiceTimeoutError(ServiceError):
    """The service did not answer in time."""


class ServiceFailedError(ServiceError):
    """The service has a fault of its own, or what answers is no model service."""


class RequestRefusedError(ServiceError):
    """The service refuses this very image or request; the message is the service's sentence."""
