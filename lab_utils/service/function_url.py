"""What a Lambda Function URL does between HTTP and a function: the event of payload format 2.0
that it makes of a request, and the HTTP answer that it makes of what the function returns.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

import base64
import json
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.responses import Response

from lab_utils.middleware import json_refusal

TIMED_OUT = b"Task timed out after"
"""How the emulator's sentence about a function out of time begins."""

_TEXT_TYPES = ("application/json", "application/javascript", "application/xml")
_OWN_HEADERS = {"content-length", "transfer-encoding", "connection", "date", "server"}


def event_of(
    method: str, path: str, query: str, pairs: list[tuple[str, str]], body: bytes, client: str
) -> bytes:
    """The JSON event for a request, with those of AWS's fields that mean something here.

    Args:
        method, path, query: as they came in.
        pairs: names of headers, in small letters, and their values.
        body: whole.
        client: the address that the request came from.
    """
    headers = _joined(pairs)
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": client}
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {"http": http | {"userAgent": headers.get("user-agent", "")}},
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = _joined(parse_qsl(query, keep_blank_values=True))
    if body:
        event["body"], event["isBase64Encoded"] = _text(body, headers.get("content-type", ""))
    return json.dumps(event).encode()


def answer_of(status: int, body: bytes) -> Response:
    """The HTTP answer for what the emulator sent back; a failure gets its status.

    The emulator sends an exception of the function as status 200 and a document with `errorType`,
    a function out of time as status 200 and a sentence, and a function that ended as status 502.

    Args:
        status: of the emulator's answer.
        body: of the same.
    """
    if body.startswith(TIMED_OUT):
        return json_refusal(504, "The function ran out of its time; send a smaller image or fewer.")
    try:
        returned = json.loads(body)
        fields = returned if isinstance(returned, dict) else {}
        if "errorType" in fields and not str(fields["errorType"]).startswith("Runtime.Exit"):
            return json_refusal(
                500, "The function failed on this request; the reason is in its log."
            )
        if status != 200:
            return json_refusal(502, "The function ended on this request; try again.")
        if "statusCode" not in fields:
            return Response(body, media_type="application/json")
        content = fields.get("body") or ""
        data = base64.b64decode(content) if fields.get("isBase64Encoded") else content.encode()
        answer = Response(data, int(fields["statusCode"]))
        for name, value in (fields.get("headers") or {}).items():
            if name.lower() not in _OWN_HEADERS:
                answer.headers[name] = str(value)
        return answer
    except (AttributeError, TypeError, ValueError):
        return json_refusal(502, "The function gave no answer that a URL can pass on; try again.")


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names to values; those of a name that comes several times, with commas between them."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _text(body: bytes, content_type: str) -> tuple[str, bool]:
    """The body as an event holds it, and whether that is base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT_TYPES:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True
