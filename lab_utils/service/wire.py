"""The JSON between whoever has an image and any service that has the model, in one place, so that
a client fits every edge. A request is hostile until it is parsed: no text in it is ever a path.
"""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from text_recognizer.errors import (
    AddressError,
    DownloadError,
    ImageError,
    ImageTooLargeError,
    RecognizerError,
)

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import Line, PageReading

MAX_BODY_BYTES = 6 * 2**20
"""Bytes of a request. AWS Lambda takes no more, so no edge does: a client need not know which
service it talks to."""

MAX_IMAGES = 16
"""Images in one request."""

MAX_URL_CHARACTERS = 4096

_SOURCES = ("image", "image_url", "images")
_INTERNAL = "The service failed on this request; the reason is in its log."


class RequestError(RecognizerError):
    """A request that is answered with an error.

    Args:
        status: HTTP status, 4xx or 5xx.
        message: the sentence that the client sees.
        retry_after: s after which to ask again, for the header Retry-After; None for no header.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that go with the answer."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return headers | ({"allow": "GET, HEAD, POST"} if self.status == 405 else {})


@dataclass(frozen=True)
class Request:
    """A request of the right form; whether its images can be read is not yet known."""

    images: list[str] = field(default_factory=list)
    """Data URIs, also of what came as plain base64: so a reader cannot take one for a path."""
    image_url: str | None = None
    lines: bool = False
    """Whether the lines are wanted with their places and confidences."""
    many: bool = False
    """Whether a list was sent; then a list is the answer, also of one image."""


def parse_request(body: bytes | str) -> Request:
    """The request in a JSON body.

    Raises RequestError: 400 where it is not of the form, 413 where it is too large.
    """
    check_body_size(body)
    try:
        # NaN and Infinity are no JSON, though Python reads them.
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RequestError(
            400, 'The body is not JSON; send an object such as {"image": "<base64>"}.'
        ) from None
    return parse_document(document)


def parse_document(document: object) -> Request:
    """The request in a JSON document that is parsed already; raises RequestError as above."""
    if not isinstance(document, dict):
        raise RequestError(
            400, 'The body is no JSON object; send one such as {"image": "<base64>"}.'
        )
    if any(name not in (*_SOURCES, "lines") for name in document):
        raise RequestError(
            400, "Unknown fields; send one of image, image_url and images, and optionally lines."
        )
    given = [name for name in _SOURCES if document.get(name) is not None]
    if len(given) != 1:
        raise RequestError(400, "Send exactly one of image, image_url and images.")
    lines = document.get("lines")
    if lines is not None and not isinstance(lines, bool):
        raise RequestError(400, "lines is true or false.")
    (source,) = given
    value = document[source]
    if source == "image_url":
        return Request(image_url=_url(value), lines=bool(lines))
    if source == "image":
        return Request([_data_uri(value, "image")], lines=bool(lines))
    return Request(_data_uris(value), lines=bool(lines), many=True)


def check_body_size(body: bytes | str) -> None:
    """Raises RequestError 413 for a body that is too large to be looked at."""
    size = len(body)
    if isinstance(body, str) and size <= MAX_BODY_BYTES:
        size = len(body.encode(errors="replace"))
    if size > MAX_BODY_BYTES:
        raise too_large()


def too_large() -> RequestError:
    """The error of a request with too many bytes."""
    return RequestError(
        413,
        f"The request has more than {MAX_BODY_BYTES} bytes; send a smaller image or fewer, or an "
        "image_url.",
    )


def wrong_method() -> RequestError:
    """The error of a request that is neither a POST nor asks after the service's health."""
    return RequestError(405, "Send a POST with a JSON body; a GET tells whether the service is up.")


def foreign_host(host: str) -> RequestError:
    """The error of a request under a name that is not this machine's: see `lab_utils.net`."""
    return RequestError(403, f"{host[:100]!r} is not a name of this service; ask its address.")


def image_sources(request: Request, *, allow_private_addresses: bool = False) -> list[str | bytes]:
    """What `ParagraphTextRecognizer.read_batch` takes for a request's images, a URL downloaded.

    Raises AddressError or DownloadError; see `text_recognizer.fetching.fetch`.
    """
    if request.image_url is None:
        return list(request.images)
    if not re.match(r"\s*https?://", request.image_url, re.IGNORECASE):
        raise AddressError("Only http:// and https:// addresses are fetched; send one of these.")
    from text_recognizer.fetching import fetch

    return [fetch(request.image_url, allow_private_addresses=allow_private_addresses)]


def encode_answer(request: Request, readings: Sequence["PageReading"]) -> dict[str, Any]:
    """The JSON document that answers a request with the readings of its images, in order."""
    answers = [_encode_reading(reading, request.lines) for reading in readings]
    return {"preds": answers} if request.many else answers[0]


def decode_text(answer: object) -> str:
    """The text in the answer to one image; raises ValueError where it is no such answer."""
    return _typed(answer, "pred", str)


def decode_reading(answer: object) -> "PageReading":
    """The reading in the answer to one image that was sent with `"lines": true`.

    Raises ValueError where it is no such answer.
    """
    from text_recognizer.paragraph_text_recognizer import PageReading

    return PageReading(
        text=decode_text(answer),
        lines=[_decode_line(line) for line in _typed(answer, "lines", list)],
        seconds=_number(_typed(answer, "seconds", int | float)),
        width=_pixels(answer, "width"),
        height=_pixels(answer, "height"),
    )


def error_answer(error: BaseException) -> tuple[int, dict[str, str]]:
    """HTTP status and JSON document for what was raised while a request was served.

    A bug's message stays inside: only what was written for users is told.
    """
    if isinstance(error, RequestError):
        return error.status, {"error": str(error)}
    if isinstance(error, ImageTooLargeError):
        return 413, {"error": str(error)}
    if isinstance(error, ImageError | AddressError | DownloadError):
        return 422, {"error": str(error)}
    if isinstance(error, TimeoutError):
        return 504, {"error": "The service did not finish in time; send a smaller image or fewer."}
    return 500, {"error": _INTERNAL}


@cache
def model_fingerprint(path: str | Path) -> str:
    """The first 12 hexadecimal digits of a model file's SHA-256, for health answers."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(400, "image_url is a text.")
    if len(value) > MAX_URL_CHARACTERS:
        raise RequestError(400, f"image_url has more than {MAX_URL_CHARACTERS} characters.")
    # JSON can write halves of a character, which no address holds and no socket takes.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(400, "image_url holds characters that no address has.")
    return value


def _data_uris(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise RequestError(400, f"images is a list of 1 to {MAX_IMAGES} base64 texts.")
    if len(value) > MAX_IMAGES:
        raise RequestError(413, f"{len(value)} images were sent; send at most {MAX_IMAGES}.")
    return [_data_uri(one, f"images[{position}]") for position, one in enumerate(value)]


def _data_uri(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(400, f"{name} is a text: base64 or a data URI.")
    value = value.strip()
    return value if value[:5].lower() == "data:" else f"data:;base64,{value}"


def _encode_reading(reading: "PageReading", lines: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"pred": reading.text}
    if lines:
        answer |= {
            "lines": [asdict(line) for line in reading.lines],
            "width": reading.width,
            "height": reading.height,
            "seconds": round(reading.seconds, 4),
        }
    return answer


def _decode_line(line: object) -> "Line":
    from text_recognizer.paragraph_text_recognizer import Line

    box = [_number(value) for value in _typed(line, "box", list | tuple)]
    if len(box) != 4:
        raise ValueError("box is not four numbers")
    path = _typed(line, "path", list | tuple)
    return Line(
        text=_typed(line, "text", str),
        confidence=_number(_typed(line, "confidence", int | float)),
        path=[_point(point) for point in path],
        height=_number(_typed(line, "height", int | float)),
        box=(box[0], box[1], box[2], box[3]),
    )


def _point(point: object) -> tuple[float, float]:
    if not isinstance(point, list | tuple) or len(point) != 2:
        raise ValueError("path holds something other than points")
    return _number(point[0]), _number(point[1])


def _pixels(answer: object, name: str) -> int:
    value = _typed(answer, name, int)
    if not 0 < value < 2**31:
        raise ValueError(f"the answer's {name} is no number of pixels")
    return value


def _typed(document: object, name: str, kind: Any) -> Any:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"the answer has no {name} of the right type")
    return value


def _number(value: Any) -> float:
    with suppress(TypeError, OverflowError):  # JSON knows integers that no float holds
        if not isinstance(value, bool | str) and math.isfinite(value := float(value)):
            return value
    raise ValueError("the answer holds something other than numbers")
