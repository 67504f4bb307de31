"""The JSON that services accept and answer with, the same for Lambda, the gateway and Ray.

A request is hostile until it is parsed: no text in it is ever a path. The Lambda image has only
torch and Pillow, so this needs neither pydantic nor FastAPI.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from text_recognizer.errors import (
    AddressError,
    DownloadError,
    ImageError,
    ImageTooLargeError,
    RecognizerError,
)
from text_recognizer.fetching import fetch
from text_recognizer.files import sha256

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

MAX_BODY_BYTES = 6 * 2**20
"""Bytes of a request. AWS Lambda accepts no more, so the other services don't either: a client
need not know which one it talks to."""

MAX_IMAGES = 16
"""Images in one request."""

MAX_URL_CHARACTERS = 4096

_SOURCES = ("image", "image_url", "images")


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
    """Whether the answer should have the lines with their places and confidences."""
    many: bool = False
    """Whether a list was sent; then the answer is a list too, even for one image."""


def parse_request(body: bytes) -> Request:
    """The request in a JSON body.

    Raises RequestError: 400 for a body of another form, 413 for one that is too large.
    """
    if len(body) > MAX_BODY_BYTES:
        raise too_large()
    try:
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
            400, 'The body is not a JSON object; send one such as {"image": "<base64>"}.'
        )
    if any(name not in (*_SOURCES, "lines") for name in document):
        raise RequestError(
            400, "Unknown fields; send one of image, image_url and images, and optionally lines."
        )
    given = [name for name in _SOURCES if document.get(name) is not None]
    if len(given) != 1:
        raise RequestError(400, "Send exactly one of image, image_url and images.")
    lines = document.get("lines")
    if not isinstance(lines, bool | None):
        raise RequestError(400, "`lines` must be true or false.")
    value = document[given[0]]
    if given == ["image_url"]:
        return Request(image_url=_url(value), lines=bool(lines))
    if given == ["image"]:
        return Request([_data_uri(value, "image")], lines=bool(lines))
    return Request(_data_uris(value), lines=bool(lines), many=True)


def too_large() -> RequestError:
    """The error of a request with too many bytes."""
    return RequestError(
        413,
        f"The request has more than {MAX_BODY_BYTES} bytes; send a smaller image or fewer, or an "
        "image_url.",
    )


def image_sources(request: Request, *, allow_private_addresses: bool = False) -> list[str | bytes]:
    """What `ParagraphTextRecognizer.read_batch` takes for a request's images, a URL downloaded.

    Raises AddressError or DownloadError; see `text_recognizer.fetching.fetch`.
    """
    if request.image_url is None:
        return list(request.images)
    return [fetch(request.image_url, allow_private_addresses=allow_private_addresses)]


def encode_answer(request: Request, readings: Sequence["PageReading"]) -> dict[str, Any]:
    """The JSON document that answers a request with the readings of its images, in order.

    `note` is in it only if there is something to say about a page.
    """
    answers = [encode_reading(reading, request.lines) for reading in readings]
    return {"preds": answers} if request.many else answers[0]


def error_answer(error: BaseException) -> tuple[int, dict[str, str], dict[str, str]]:
    """HTTP status, JSON document and headers for what was raised while a request was served.

    A bug's message stays inside: the client only sees what was written for users.
    """
    if isinstance(error, RequestError):
        return error.status, {"error": str(error)}, error.headers
    if isinstance(error, ImageTooLargeError):
        return 413, {"error": str(error)}, {}
    if isinstance(error, ImageError | AddressError | DownloadError):
        return 422, {"error": str(error)}, {}
    if isinstance(error, TimeoutError):
        late = "The service did not finish in time; send a smaller image or fewer."
        return 504, {"error": late}, {}
    return 500, {"error": "The service failed on this request; the reason is in its log."}, {}


def health(path: str, model: str | Path) -> dict[str, str]:
    """The document that answers a GET; raises RequestError 404 for any other path."""
    # An API Gateway puts its stage in front of the path.
    if path not in ("", "/") and not path.endswith("/health"):
        raise RequestError(404, "There is nothing here; send a POST with an image to /.")
    return {"status": "ok", "model": model_fingerprint(model)}


@cache
def model_fingerprint(path: str | Path) -> str:
    """The first 12 hexadecimal digits of a model file's SHA-256, for health answers."""
    return sha256(Path(path))[:12]


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are not JSON, though Python reads them."""
    raise ValueError(name)


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(400, "`image_url` must be a string.")
    if len(value) > MAX_URL_CHARACTERS:
        raise RequestError(400, f"`image_url` has more than {MAX_URL_CHARACTERS} characters.")
    # JSON can write half a surrogate pair, which no socket accepts.
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RequestError(400, "`image_url` has characters that no address can have.")
    return value


def _data_uris(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise RequestError(400, f"`images` must be a list of 1 to {MAX_IMAGES} base64 strings.")
    if len(value) > MAX_IMAGES:
        raise RequestError(413, f"{len(value)} images were sent; send at most {MAX_IMAGES}.")
    return [_data_uri(one, f"images[{position}]") for position, one in enumerate(value)]


def _data_uri(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RequestError(400, f"`{name}` must be a string: base64 or a data URI.")
    value = value.strip()
    return value if value[:5].lower() == "data:" else f"data:;base64,{value}"


def encode_reading(reading: "PageReading", lines: bool) -> dict[str, Any]:
    """One image's part of an answer; with `lines` also their places, confidences and blocks."""
    answer: dict[str, Any] = {"pred": reading.text}
    if reading.note:
        answer["note"] = reading.note
    if lines:
        answer |= {
            "lines": [asdict(line) for line in reading.lines],
            "width": reading.width,
            "height": reading.height,
            "seconds": round(reading.seconds, 4),
        }
    return answer
