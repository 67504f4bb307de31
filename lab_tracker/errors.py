"""The two kinds of trouble: what a user of the lab can mend, and what a client asked in vain.

The first ends in one line on a terminal; the second is an answer of the server, never a 5xx."""

from text_recognizer.errors import RecognizerError


class TrackingError(RecognizerError):
    """The tracker cannot be started or used, and the message says what to change."""


class RequestError(Exception):
    """The server refuses a request: `status` is the HTTP status where it is not GraphQL's 200."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(RequestError):
    """What a request names is not there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)
