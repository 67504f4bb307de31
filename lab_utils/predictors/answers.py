"""A model service's answer, told from everything else that may come back from an address: pages of
proxies, half answers, redirects. All of it is checked, since it comes from elsewhere."""

import dataclasses
import json
from typing import TYPE_CHECKING

import httpx

from lab_utils.net import Reply
from lab_utils.predictors.retrying import TransientError, retry_after_seconds
from lab_utils.tables import one_line
from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

RETRIED = {429, 502, 503}
"""Statuses after which the same request may well succeed: too many at once, or nobody there now.
Not retried are 500, since a fault comes again with what caused it, 504, since the service has
already spent its time on the request and would again, and other 4xx, which blame the request."""


class PredictorError(RecognizerError):
    """A model service gave no text: it can't be reached, is busy, too slow or broken."""


class RequestRefusedError(PredictorError):
    """The service refuses this very image or request; the message is the service's sentence."""


def document_in(reply: Reply, service: str, now: float) -> dict:
    """The JSON object of a successful answer.

    Args:
        reply: what came back.
        service: who, at the beginning of an error's sentence.
        now: s since 1970, for a Retry-After that is a date.

    Raises:
        TransientError: status 429, 502 or 503.
        RequestRefusedError: another 4xx; with the service's own sentence, if it gives one.
        PredictorError: everything else.
    """
    document = _json_object(reply.body)
    status = f"{reply.status} {httpx.codes.get_reason_phrase(reply.status)}".strip()
    if reply.status in RETRIED:
        wait = retry_after_seconds(reply.headers.get("Retry-After"), now)
        raise TransientError(
            f"is busy or restarting (status {status})", busy=True, retry_after=wait
        )
    if 400 <= reply.status < 500:
        refusal = f"{service} refused the request with status {status}; check the address."
        raise RequestRefusedError(one_line(document.get("error") or "") or refusal)
    if reply.status == 504:
        raise PredictorError(
            f"{service} ran out of its time for the page; "
            "try a smaller image, or give the service more time."
        )
    if reply.status != 200:
        where = "the address" if reply.status < 400 else "the service's log"  # a redirect
        raise PredictorError(f"{service} failed with status {status}; check {where}.")
    if not document:
        kind = one_line(reply.headers.get("Content-Type", "of no type"))
        raise PredictorError(
            f"{service} sent something other than a JSON object ({len(reply.body)} bytes, {kind}); "
            "check that the address is a model service's."
        )
    return document


def _json_object(body: bytes) -> dict:
    """The object in a body; an empty one for any other body."""
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def decode_text(answer: dict) -> str:
    """The text in the answer to one image; raises ValueError for any other answer."""
    text = answer.get("pred")
    if not isinstance(text, str):
        raise ValueError("pred: a string is missing")
    text.encode()  # half a character has no bytes
    return text


def decode_reading(answer: dict) -> "PageReading":
    """The reading in the answer to one image that was sent with `"lines": true`.

    A service of an older version sends neither a note nor the lines' blocks.

    Raises ValueError for any other answer.
    """
    from pydantic import TypeAdapter, ValidationError

    from text_recognizer.paragraph_text_recognizer import PageReading

    # As JSON, in which a point is a list. Nothing is converted, such as a number in a text.
    document = json.dumps(answer | {"text": decode_text(answer)}, allow_nan=False)
    try:
        reading = TypeAdapter(PageReading).validate_json(document, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not all(0 < pixels < 2**31 for pixels in (reading.width, reading.height)):
        raise ValueError("width and height: a page has from 1 to 2**31 - 1 pixels")
    # An integer of hundreds of digits has become an infinite number.
    json.dumps(dataclasses.asdict(reading), allow_nan=False)
    return reading
