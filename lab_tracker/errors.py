"""Two kinds of errors: those that the user can fix, and those that a client's request causes.

The first ends in one line on a terminal; the second is an answer of the server, never a 5xx."""


class TrackingError(Exception):
    """The tracker can't be started or used. The message says what to change."""


class RequestError(Exception):
    """The server refuses a request. `status` is the HTTP status, except in GraphQL (always 200)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(RequestError):
    """What a request names does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)
