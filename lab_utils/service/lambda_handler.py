"""The recognizer behind AWS Lambda's contract: a function from an event to an answer.
Imports only torch and Pillow, so that the image stays small and a cold start short.

Two kinds of events are served. A direct one (`aws lambda invoke`) is itself a request as `schema`
has it. One from a Function URL or an API Gateway (payload 2.0) carries it as the body of an HTTP
request. Nothing that a request holds makes the handler raise: Lambda would count the function as
failed, and call an asynchronous one twice more. Every error is an answer, `{"error": ...}` with
its HTTP status: as `statusCode` for HTTP, as `"status"` beside the error for a direct event.

The runtime gets `lambda_entry.handler`, which loads the model before the first request.
"""

import base64
import binascii
import json
import os
import time
import traceback
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from lab_utils.service import schema
from lab_utils.service.schema import RequestError
from text_recognizer import decoding
from text_recognizer.paragraph_text_recognizer import ParagraphTextRecognizer, default_model_path
from text_recognizer.threads import usable_processors

MAX_ANSWER_BYTES = 6_291_556
"""Bytes of an answer that Lambda passes on; a longer one would be lost."""

MEMORY_OF_A_CORE = 1769
"""MB of a function's memory for which Lambda gives it the time of one core."""

_TRACEBACK_CHARACTERS = 8000

Event = Any
"""What Lambda makes of JSON, so anything that JSON can be."""


def handler(event: Event, context: object = None) -> dict[str, Any]:
    """Answers one event; the model loads on the first call, unless `load` was called before.

    Args:
        event: a direct event, or that of a Function URL or an API Gateway (payload 2.0).
        context: Lambda's; its `aws_request_id` goes into the log.

    Raises ModelFileError if there is no model, and nothing else.
    """
    return load()(event, context)


@cache
def load() -> "LambdaHandler":
    """The handler with the model that LAB_MODEL names, loaded once for the process.

    With LAB_ALLOW_PRIVATE=1 an image_url inside a private network is fetched. Raises ModelFileError
    if the file is missing or damaged.
    """
    start = time.perf_counter()
    decoding.start()
    set_threads()
    # Without fusion, nothing is profiled and compiled during the first two requests. On the
    # CPU, later ones are no slower for it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as with all of TorchScript
        torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])
    path = default_model_path()
    recognizer = ParagraphTextRecognizer(
        path, allow_private_addresses=os.environ.get("LAB_ALLOW_PRIVATE") == "1"
    )
    return LambdaHandler(recognizer, path, load_seconds=time.perf_counter() - start)


def set_threads() -> None:
    """Gives PyTorch a thread for each core that the function's memory pays for.

    More would take turns on the same share of time. OMP_NUM_THREADS overrides it.
    """
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    if memory.isdigit() and not os.environ.get("OMP_NUM_THREADS"):
        cores = usable_processors()
        torch.set_num_threads(max(1, min(cores, round(int(memory) / MEMORY_OF_A_CORE))))


class LambdaHandler:
    """A recognizer that answers Lambda's events, and logs one JSON line for each.

    Args:
        recognizer: reads the images.
        model: its file, whose fingerprint is in health answers.
        load_seconds: what loading it took, for the log.
        log: takes the lines; None for stdout, which Lambda keeps. The text that was read is never
            in them: it may be private.
    """

    def __init__(
        self,
        recognizer: ParagraphTextRecognizer,
        model: Path,
        load_seconds: float = 0.0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._recognizer, self._model = recognizer, model
        self.load_seconds = load_seconds
        self._log = log or partial(print, flush=True)
        self._is_cold = True

    def __call__(self, event: Event, context: object = None) -> dict[str, Any]:
        start = time.perf_counter()
        record: dict[str, Any] = {
            "message": "request",
            "request_id": getattr(context, "aws_request_id", None),
            "cold_start": self._is_cold,
            "load_seconds": round(self.load_seconds, 4),
        }
        self._is_cold = False
        answer_form = _http_answer if _is_http(event) else _direct_answer
        try:
            status, document = 200, self._serve(event, record)
            answer = answer_form(status, document, {})
            if len(json.dumps(answer)) > MAX_ANSWER_BYTES:
                raise RequestError(
                    413, "The answer would be too large; send fewer images, or ask without lines."
                )
        except Exception as error:
            status, document, headers = schema.error_answer(error)
            record["error"] = document["error"]
            if status >= 500:
                record["traceback"] = traceback.format_exc()[-_TRACEBACK_CHARACTERS:]
            answer = answer_form(status, document, headers)
        record |= {"status": status, "seconds": round(time.perf_counter() - start, 4)}
        self._log(json.dumps(record))
        return answer

    def _serve(self, event: Event, record: dict[str, Any]) -> dict[str, Any]:
        if _is_http(event):
            method, path = _route(event)
            if method in ("GET", "HEAD"):
                return schema.health(path, self._model)
            if method != "POST":
                raise RequestError(405, "Send a POST with a JSON body, or a GET for its health.")
            request = schema.parse_request(_body(event))
        else:
            request = schema.parse_document(event)
            if sum(map(len, request.images)) > schema.MAX_BODY_BYTES:
                raise schema.too_large()
        private = self._recognizer.allow_private_addresses
        sources = schema.image_sources(request, allow_private_addresses=private)
        record |= {"images": len(sources), "bytes": sum(map(len, sources))}
        readings = self._recognizer.read_batch(sources)
        record["lines"] = sum(len(reading.lines) for reading in readings)
        return schema.encode_answer(request, readings)


def _is_http(event: Event) -> bool:
    return isinstance(event, dict) and ("requestContext" in event or "version" in event)


def _route(event: dict[str, Any]) -> tuple[str, str]:
    """Method and path of an HTTP event."""
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, dict) else None
    method = http.get("method") if isinstance(http, dict) else None
    path = event.get("rawPath", "/")
    if event.get("version") != "2.0" or not isinstance(method, str) or not isinstance(path, str):
        raise RequestError(
            400, "The event is not one of a Function URL or an API Gateway (payload 2.0)."
        )
    return method.upper(), path


def _body(event: dict[str, Any]) -> bytes:
    body, is_base64 = event.get("body"), event.get("isBase64Encoded", False)
    if not body:
        raise RequestError(
            400, 'The request has no body; send an object such as {"image": "<base64>"}.'
        )
    if not isinstance(body, str) or not isinstance(is_base64, bool):
        raise RequestError(
            400, "In the event, `body` must be a string and `isBase64Encoded` a boolean."
        )
    if not is_base64:
        return body.encode(errors="replace")
    if len(body) > schema.MAX_BODY_BYTES // 3 * 4 + 4:  # before there is a copy of it
        raise schema.too_large()
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, "The body is marked as base64, but it isn't base64.") from None


def _http_answer(status: int, document: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store", **headers},
        "body": json.dumps(document),
        "isBase64Encoded": False,
    }


def _direct_answer(status: int, document: dict[str, Any], headers: object) -> dict[str, Any]:
    return document if status == 200 else {**document, "status": status}
