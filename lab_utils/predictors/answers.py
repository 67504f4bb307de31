"""A model service's answer, told from everything else that may come back from an address: pages of
proxies, half answers, redirects. All of it is checked, since it comes from elsewhere."""

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from lab_utils.net import Reply
from lab_utils.predictors.retrying import TransientError, retry_after_seconds
from text_recognizer.errors import RecognizerError

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

RETRIED = {429, 502, 503}
"""Statuses after which the same request may well succeed: too many at once, or nobody there now.
Not retried are 500, since a fault comes again with what caused it, 504, since the service has
already spent its time on the request and would again, and other 4xx, which blame the request."""

MOST_CHARACTERS = 300
"""Of what a service says."""


class ServiceError(RecognizerError):
    """A model service gave no text: it can't be reached, is busy, too slow or broken."""


class RequestRefusedError(ServiceError):
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
        ServiceError: everything else.
    """
    document, status = _json_object(reply.body), _name(reply.status)
    if reply.status in RETRIED:
        wait = retry_after_seconds(reply.headers.get("Retry-After"), now)
        raise TransientError(
            f"is busy or restarting (status {status})", busy=True, retry_after=wait
        )
    if 400 <= reply.status < 500:
        sentence = _printable(document.get("error") or "")
        refusal = f"{service} refused the request with status {status}; check the address."
        raise RequestRefusedError(sentence or refusal)
    if reply.status == 504:
        raise ServiceError(
            f"{service} ran out of its time for the page; "
            "try a smaller image, or give the service more time."
        )
    if reply.status != 200:
        where = "the address" if reply.status < 400 else "the service's log"  # a redirect
        raise ServiceError(f"{service} failed with status {status}; check {where}.")
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
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _name(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _printable(said: object) -> str:
    """One line of bounded length: what a service says ends in terminals and logs."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(said)).split())
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."


_Pixels = Annotated[int, Field(gt=0, lt=2**31)]


class _Strict(BaseModel):
    """Nothing is converted: a number that comes as text is refused."""

    model_config = ConfigDict(strict=True)


class _Text(_Strict):
    pred: str
    note: str = ""


class _Line(_Strict):
    text: str
    confidence: FiniteFloat
    path: list[tuple[FiniteFloat, FiniteFloat]]
    height: FiniteFloat
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    block: int = 0


class _Reading(_Text):
    lines: list[_Line]
    seconds: FiniteFloat
    width: _Pixels
    height: _Pixels


def decode_text(answer: object) -> str:
    """The text in the answer to one image; raises ValueError for any other answer."""
    return _checked(_Text, answer).pred


def decode_reading(answer: object) -> "PageReading":
    """The reading in the answer to one image that was sent with `"lines": true`.

    A service of an older version sends neither a note nor the lines' blocks.

    Raises ValueError for any other answer.
    """
    from text_recognizer.paragraph_text_recognizer import Line, PageReading

    found = _checked(_Reading, answer)
    lines = [Line(**dict(line)) for line in found.lines]
    return PageReading(found.pred, lines, found.seconds, found.width, found.height, found.note)


def _checked(form: type[_Text], answer: object) -> Any:
    try:
        # As JSON, in which a point is a list, and half a character an error.
        return form.model_validate_json(json.dumps(answer))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        raise ValueError(f"{place}: {first['msg']}") from None
