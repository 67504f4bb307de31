"""Tells a model service's answer from everything else that may come back from an address: pages of
proxies, half answers, redirects, and the errors that AWS Lambda hides behind status 200."""

import json
from http import HTTPStatus

from lab_utils.net import Reply
from lab_utils.predictors.errors import (
    RequestRefusedError,
    ServiceFailedError,
    ServiceTimeoutError,
)
from lab_utils.predictors.retrying import TransientError, retry_after_seconds

RETRIED = {429, 502, 503}
"""Statuses after which the same request may well succeed: too many at once, or nobody there now.
Not retried are 500, since a fault comes again with what caused it, 504, since the service has
already spent its time on the request and would again, and other 4xx, which blame the request."""

MOST_CHARACTERS_TOLD = 300

_TIMED_OUT = "Task timed out after"


def document_in(reply: Reply, service: str, now: float) -> dict:
    """The JSON object of a successful answer.

    Args:
        reply: what came back.
        service: who, at the beginning of an error's sentence.
        now: s since 1970, for a Retry-After that is a date.

    Raises:
        TransientError: status 429, 502 or 503.
        RequestRefusedError: another 4xx; with the service's own sentence, where it gives one.
        ServiceTimeoutError, ServiceFailedError: everything else.
    """
    document = _json_object(reply.body)
    status = _status(reply.status, document)
    if status in RETRIED:
        wait = retry_after_seconds(reply.headers.get("Retry-After"), now)
        happened = f"is busy or restarting (status {_name(status)})"
        raise TransientError(happened, busy=True, retry_after=wait)
    if _has_timed_out(status, document, reply.body):
        raise ServiceTimeoutError(
            f"{service} ran out of its time for the page; "
            "try a smaller image, or give the service more time."
        )
    if 300 <= status < 400:
        where = _printable(reply.headers.get("Location") or "nowhere")
        raise ServiceFailedError(
            f"{service} redirects to {where}, which is not followed; give the final address."
        )
    if 400 <= status < 500:
        raise RequestRefusedError(_refusal(status, document, service))
    if status != 200:
        raise ServiceFailedError(
            f"{service} failed with status {_name(status)}; look into the service's log."
        )
    if document is None:
        kind = _printable(reply.headers.get("Content-Type") or "of no type")
        raise ServiceFailedError(
            f"{service} sent something other than a JSON object ({len(reply.body)} bytes, {kind}); "
            "check that the address is a model service's."
        )
    if "errorType" in document or "errorMessage" in document:
        kind = _printable(str(document.get("errorType") or "an exception"))
        raise ServiceFailedError(
            f"{service} failed inside with {kind}; look into the service's log."
        )
    return document


def _status(status: int, document: dict | None) -> int:
    """The answer's status; a function that is invoked directly tells an error's beside it."""
    if status != 200 or document is None or "error" not in document:
        return status
    told = document.get("status")
    return told if isinstance(told, int) and 400 <= told < 600 else 400


def _has_timed_out(status: int, document: dict | None, body: bytes) -> bool:
    """Lambda's time-outs come as status 200: a bare text from its emulator, JSON from itself."""
    if document is None:
        return status == 504 or (status == 200 and _TIMED_OUT.encode() in body[:1000])
    return status == 504 or _TIMED_OUT in str(document.get("errorMessage"))


def _json_object(body: bytes) -> dict | None:
    try:
        # NaN and Infinity are no JSON, though Python reads them.
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _refusal(status: int, document: dict | None, service: str) -> str:
    sentence = (document or {}).get("error")
    if isinstance(sentence, str) and (sentence := _printable(sentence)):
        return sentence
    if status in (401, 403, 407):
        return (
            f"{service} asks for a permission (status {_name(status)}); "
            "give the address of a service that is open to you."
        )
    return f"{service} refused the request with status {_name(status)}; check the address."


def _name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _printable(text: str) -> str:
    """One line of bounded length: what a service says ends in terminals and logs."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MOST_CHARACTERS_TOLD else text[:MOST_CHARACTERS_TOLD] + "..."
