"""Tells a model service's answer from everything else that may come back from an address: pages of
proxies, half answers, redirects, and the errors that AWS Lambda hides behind status 200."""

import json
from http import HTTPStatus

from lab_utils.net import Reply
from lab_utils.predictors.errors import RequestRefusedError, ServiceError
from lab_utils.predictors.retrying import TransientError, retry_after_seconds

RETRIED = {429, 502, 503}
"""Statuses after which the same request may well succeed: too many at once, or nobody there now.
Not retried are 500, since a fault comes again with what caused it, 504, since the service has
already spent its time on the request and would again, and other 4xx, which blame the request."""

MOST_CHARACTERS = 300
"""Of what a service says."""

_TIMED_OUT = b"Task timed out after"


def document_in(reply: Reply, service: str, now: float) -> dict:
    """The JSON object of a successful answer.

    Args:
        reply: what came back.
        service: who, at the beginning of an error's sentence.
        now: s since 1970, for a Retry-After that is a date.

    Raises:
        TransientError: status 429, 502 or 503.
        RequestRefusedError: another 4xx; with the service's own sentence, if it gives one.
        ServiceError: everything else.
    """
    document = _json_object(reply.body)
    status = reply.status
    if status == 200 and "error" in document:  # of a function that is invoked directly
        status = document.get("status")
        status = status if isinstance(status, int) and 400 <= status < 600 else 400
    if status in RETRIED:
        wait = retry_after_seconds(reply.headers.get("Retry-After"), now)
        happened = f"is busy or restarting (status {_name(status)})"
        raise TransientError(happened, busy=True, retry_after=wait)
    if 400 <= status < 500:
        raise RequestRefusedError(_refusal(status, document, service))
    # Lambda's time-outs come as status 200: a bare text from its emulator, JSON from itself.
    is_late = "pred" not in document and _TIMED_OUT in reply.body[:1000]
    if status == 504 or is_late:
        raise ServiceError(
            f"{service} ran out of its time for the page; "
            "try a smaller image, or give the service more time."
        )
    if status != 200 or "errorType" in document:
        kind = document.get("errorType") or f"status {_name(status)}"
        where = "the address" if 300 <= status < 400 else "the service's log"  # a redirect
        raise ServiceError(f"{service} failed with {_printable(kind)}; check {where}.")
    if not document:
        kind = _printable(reply.headers.get("Content-Type", "of no type"))
        raise ServiceError(
            f"{service} sent something other than a JSON object ({len(reply.body)} bytes, {kind}); "
            "check that the address is a model service's."
        )
    return document


def _json_object(body: bytes) -> dict:
    """The object in a body; an empty one for any other body."""
    try:
        # NaN and Infinity are not JSON, though Python reads them.
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _refusal(status: int, document: dict, service: str) -> str:
    if sentence := _printable(document.get("error") or ""):
        return sentence
    return f"{service} refused the request with status {_name(status)}; check the address."


def _name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _printable(said: object) -> str:
    """One line of bounded length: what a service says ends in terminals and logs."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(said)).split())
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
