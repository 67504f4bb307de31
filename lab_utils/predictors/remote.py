"""Reads pages by asking a model service. A caller gets the service's text or an error with one
sentence, never something else that came back from the address."""

import json
import math
import re
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import httpx

from lab_utils.net import DeadlineClient, NetworkError, ReplyTooLargeError, is_loopback
from lab_utils.predictors.answers import PredictorError, decode_reading, decode_text, document_in
from lab_utils.predictors.pages_to_send import page_to_send
from lab_utils.predictors.retrying import Answer, Clock, TransientError, retry
from lab_utils.predictors.signing import signer_for
from text_recognizer.images import ImageSource

if TYPE_CHECKING:
    from text_recognizer.paragraph_text_recognizer import PageReading

TIMEOUT_SECONDS = 60.0
"""Longer than a cold start and the reading of the largest page behind a short queue."""

CONNECT_TIMEOUT_SECONDS = 5.0

RETRIES = 5
"""With the back-off's waits, they bridge about four seconds: a restarting replica."""

MAX_ANSWER_BYTES = 8_000_000
"""More than AWS Lambda answers with, and far more than the lines of any page."""

_HEADERS = {
    "User-Agent": "text-recognizer",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}


class RemotePredictor(AbstractContextManager):
    """Reads pages with the model service at a URL; see `lab_utils.service.schema` for what is sent.

    Safe to call from several threads at once. Connections are kept for the next page; `close`
    lets them go. Reading a page changes nothing in the service, so a request is repeated if
    that may help: after a failed or broken connection, and after the statuses 429, 502 and 503,
    with growing, random waits, and not before a Retry-After. Certificates of https are verified
    against the system's authorities (or those that SSL_CERT_FILE names). A proxy that the
    environment names is used, but not for this machine. Requests to a Lambda Function URL are
    signed if there are AWS credentials and boto3.

    Args:
        url: http or https address of the service, without user name and password.
        timeout: s for a page in all, with retries and waits.
        connect_timeout: s for each connection, name look-up and TLS included.
        retries: most requests for a page after the first.
        clock: where time and chance come from; for tests.

    Raises:
        PredictorError: the URL is not of that form.
        NetworkError: the environment names a proxy that can't be used.
    """

    def __init__(
        self,
        url: str,
        timeout: float = TIMEOUT_SECONDS,
        connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
        retries: int = RETRIES,
        *,
        clock: Clock | None = None,
    ) -> None:
        if not (0 < timeout < math.inf and 0 < connect_timeout < math.inf and retries >= 0):
            raise PredictorError("Time-outs are positive seconds, and retries 0 or more.")
        place = _parse(url)
        self.address = str(place).partition("?")[0]
        """The service's address without its query, which may hold a key."""
        self._service = f"The model service at {self.address}"
        self._url, self._target = str(place), place.raw_path.decode()
        self._sign = signer_for(place.scheme, place.host)
        self._client = DeadlineClient(connect_timeout, local=is_loopback(place.host))
        self._timeout, self._retries = timeout, retries
        self._clock = clock or Clock()

    def __repr__(self) -> str:
        return f"RemotePredictor({self.address!r})"

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the kept connections; the predictor can't be used after that."""
        self._client.close()

    def predict(self, image: ImageSource) -> str:
        """Returns the text of an image, its lines joined by newlines; "" for a blank page.

        Raises:
            ImageError, ImageTooLargeError, AddressError: the image is not one that can be sent.
            RequestRefusedError: the service refuses it; with the service's sentence.
            NetworkError: the predictor is closed.
            PredictorError: there is no answer, no answer in time, or not one of a model service.
        """
        return self._ask(page_to_send(image).fields, decode_text)

    def read(self, image: ImageSource) -> "PageReading":
        """Returns the text with its lines, in px of the image; raises as `predict`.

        `seconds` is the time of the work in the service, without the way there and back.
        """
        fields, scaled = page_to_send(image)
        reading = self._ask(fields | {"lines": True}, decode_reading)
        return reading if scaled is None else reading.in_px_of(scaled.width, scaled.height)

    def _ask(self, fields: dict[str, str | bool], decode: Callable[[dict], Answer]) -> Answer:
        body = json.dumps(fields).encode()
        deadline = self._clock.monotonic() + self._timeout
        try:
            answer = retry(
                lambda: self._ask_once(body, deadline),
                retries=self._retries,
                deadline=deadline,
                clock=self._clock,
            )
        except TransientError as error:
            tries = "" if error.attempts == 1 else f", {error.attempts} times in a row"
            cure = "check the address and that the service runs, then try again"
            if error.busy:
                wait = error.retry_after
                cure = f"try again {'later' if wait is None else f'in {math.ceil(wait)} s'}"
            raise PredictorError(f"{self._service} {error}{tries}; {cure}.") from None
        try:
            return decode(answer)
        except ValueError as error:
            raise PredictorError(
                f"{self._service} sent an answer of another form ({error}); "
                "check that the address is a model service's of this version."
            ) from None

    def _ask_once(self, body: bytes, deadline: float) -> dict:
        headers = _HEADERS
        if self._sign is not None:
            headers = self._sign(self._target, body, headers)
        seconds = deadline - self._clock.monotonic()
        try:
            reply = self._client.post(self._url, body, headers, seconds, MAX_ANSWER_BYTES)
        except ReplyTooLargeError:
            raise PredictorError(
                f"{self._service} sent more than {MAX_ANSWER_BYTES / 1e6:g} MB; "
                "check that the address is a model service's."
            ) from None
        except NetworkError:  # closed: it would be on every try
            raise
        except httpx.ConnectTimeout:
            raise TransientError("made no connection in time") from None
        except (TimeoutError, httpx.TimeoutException):
            raise PredictorError(
                f"{self._service} did not answer within {self._timeout:g} s; "
                "try a smaller image or a longer timeout."
            ) from None
        except Exception as error:
            raise self._unanswered(error) from None
        return document_in(reply, self._service, self._clock.now())

    def _unanswered(self, error: BaseException) -> Exception:
        """What no answer means; certificates stay as they are, all else may work a moment later."""
        said, cause = str(error) or type(error).__name__, error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return PredictorError(
                    f"{self._service} can't be asked over https ({cause.verify_message}); "
                    "check the address and the certificate."
                )
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.ConnectError | httpx.ProxyError):
            return TransientError(f"could not be reached ({said})")
        return TransientError(f"broke the connection off, or does not speak HTTP ({said})")


def _parse(url: str) -> httpx.URL:
    """The service's address. It is never in these messages: it may hold a password."""
    try:
        place = httpx.URL(url.strip())
        place = place.copy_with(path=place.path or "/", fragment=None)
    except (httpx.InvalidURL, AttributeError):
        place = httpx.URL("")
    is_host = re.fullmatch(r"[\w.-]+|[\da-f:.]+(%\w+)?", place.raw_host.decode(), re.A | re.I)
    has_port = place.port is None or 0 < place.port < 2**16
    if place.scheme not in ("http", "https") or not is_host or not has_port:
        raise PredictorError(
            "That is not a model service's address; give one like http://127.0.0.1:9000."
        )
    if place.userinfo:
        raise PredictorError(
            "The model service's address holds a user name or password, which would end up in "
            "logs; give it without."
        )
    return place
