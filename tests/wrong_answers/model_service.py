"""Typical mistakes in the exercises of notebook 06, and what the check must say about each."""

HANDLE = """
import base64
import json
from text_recognizer.errors import RecognizerError

def handle(event, read, max_bytes=4_000_000):
    def answer(status, document):
        headers = {{"content-type": "application/json"}}
        return {{"statusCode": status, "headers": headers, "body": json.dumps(document)}}
    no_request, refused = {{"error": "Send an image."}}, {{"error": "Send a smaller image."}}
    broken = {{"error": "The service failed."}}
    {body}
"""
UNPACK = """try:
        body = event.get("body") or ""
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True)
        image = base64.b64decode(json.loads(body)["image"], validate=True)
    except (ValueError, TypeError, KeyError):
        return answer(400, no_request)
    """
LIMIT = """if len(image) > max_bytes:
        return answer(413, refused)
    """
READ = """try:
        return answer(200, {"pred": read(image)})
    except RecognizerError as error:
        return answer(422, {"error": str(error)})
    except Exception as error:
        return answer(500, broken)"""
WHOLE = UNPACK + LIMIT + READ

SAFE_ADDRESS = """
import ipaddress
from urllib.parse import urlsplit
from text_recognizer.errors import AddressError

def safe_address(url, resolve):
    parts = urlsplit(url)
    if parts.scheme not in ({schemes}) or not parts.hostname:
        raise AddressError("Give an address like https://host/page.png.")
    addresses = resolve({host})
    if not addresses:
        raise AddressError("no such host")
    for address in {judged}:
        ip = ipaddress.ip_address(str(address))
        if {private}:
            raise AddressError("not public")
    return {result}
"""
RIGHT_ADDRESS = {
    "schemes": '"http", "https"',
    "host": "parts.hostname",
    "judged": "addresses",
    "private": "not ip.is_global or ip.is_multicast",
    "result": "addresses[0]",
}

ASK = """
def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    waited, longest = 0.0, first
    while True:
        try:
            answer = tuple(ask())
        except {caught}:
            answer = (503, {{}}, "")
        status, headers, _ = answer
        wait = {wait}
        if {end}:
            return answer
        sleep(wait)
        waited, longest = {after}
"""
RIGHT_ASK = {
    "caught": "ConnectionError",
    "wait": 'float(headers.get("retry-after", 0)) + draw() * longest',
    "end": "status not in (429, 502, 503) or waited + wait > patience",
    "after": "waited + wait, longest * 2",
}

PERCENTILE = """
import math

def percentile_latency(requests, percent=95):
    found = [{latencies}]
    latencies = sorted(found)
    return latencies[{rank}]
"""
LATENCIES = "math.inf if end is None else end - due for due, _, end in requests"
RANK = "math.ceil(percent * len(latencies) / 100) - 1"

CLIENT = """
import httpx

def ask_service(address, image):
    image = {encoded}
    try:
        reply = {sent}
    except {caught}:
        raise ConnectionError("no answer")
    return {result}
"""
RIGHT_CLIENT = {
    "encoded": "base64.b64encode(image).decode()",
    "sent": 'httpx.post(address, json={"image": image}, timeout=60)',
    "caught": "httpx.TransportError",
    "result": "reply.status_code, dict(reply.headers), reply.text",
}


def handle(body: str) -> str:
    return HANDLE.format(body=body)


def safe_address(**changed: str) -> str:
    return SAFE_ADDRESS.format(**RIGHT_ADDRESS | changed)


def ask(**changed: str) -> str:
    return ASK.format(**RIGHT_ASK | changed)


def client(**changed: str) -> str:
    return CLIENT.format(**RIGHT_CLIENT | changed)


WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "handle": [
        (
            handle('return answer(200, {"pred": read(event["body"])})'),
            r"the reader was given \d+ str, not once the 512 bytes",
        ),
        (
            handle(
                """image = base64.b64decode(json.loads(event["body"])["image"])
    return answer(200, {"pred": read(image)})"""
            ),
            r"with a body in base64 \(isBase64Encoded is true\), handle stopped with JSONDecodeErr",
        ),
        (
            handle(WHOLE.replace('["image"], validate=True', '["image"]')),
            "b64decode skips what isn't base64",
        ),
        (
            handle(WHOLE.replace("return answer(400, no_request)", "return answer(500, broken)")),
            "no body got the status 500, not 400",
        ),
        (
            handle(UNPACK + READ),
            "an image of one byte more than max_bytes got the status 200, not 413",
        ),
        (
            handle(
                WHOLE.replace("len(image)", "len(event['body'])").replace(
                    "> max_bytes", "> max_bytes * 2"
                )
            ),
            "not 413: count the decoded bytes",
        ),
        (
            handle(
                UNPACK.replace(
                    "    except",
                    "        if len(image) > max_bytes: return answer(413, refused)\n"
                    '        return answer(200, {"pred": read(image)})\n    except',
                )
            ),
            "RecognizerError is a ValueError, too",
        ),
        (
            handle(WHOLE.replace("answer(500, broken)", 'answer(500, {"error": str(error)})')),
            "was shown to the sender",
        ),
        (
            handle(WHOLE.replace("except RecognizerError as", "except ValueError as")),
            "a ValueError from within the reader got the status 422, not 500",
        ),
        (
            handle(WHOLE).replace("json.dumps(document)", "document"),
            "body is a dict: what goes over HTTP is text",
        ),
        (
            handle(WHOLE).replace('{"content-type": "application/json"}', "{}"),
            "must be told that JSON comes",
        ),
        (
            handle(WHOLE.replace('{"pred": read(image)}', '{"pred": read(image) or None}')),
            "A blank page has the text ''",
        ),
    ],
    "safe_address": [
        (
            safe_address(private='address.startswith(("127.", "10.", "192.168.", "169.254."))'),
            "172.16.5.4 is a private network",
        ),
        (safe_address(private="ip.is_private"), r"100\.64\.0\.9 is shared by a provider"),
        (safe_address(private="not ip.is_global"), r"224\.0\.0\.251 is a group of machines"),
        (safe_address(judged="addresses[:1]"), "one of its two addresses is private"),
        (safe_address(host="parts.netloc"), "was refused|stopped with|returned"),
        (safe_address(result="resolve(parts.hostname)[0]"), "was looked up 2 times"),
        (safe_address(result="parts.hostname"), "connects to what was checked"),
        (
            safe_address().replace('raise AddressError("no such host")', "return None"),
            "the name has no address at all",
        ),
        (safe_address().replace("AddressError(", "ValueError("), "ValueError, not AddressError"),
    ],
    "ask_patiently": [
        (ask(end="status == 200 or waited + wait > patience"), "after the status 400 it asked"),
        (ask(wait="draw() * longest"), "What the service asks for comes first"),
        (
            ask(wait='max(float(headers.get("retry-after", 0)), draw() * longest)'),
            "must not come back together",
        ),
        (ask(wait='float(headers.get("retry-after", 0)) + longest'), r"with draw\(\) = 0.5"),
        (ask(after="waited + wait, longest"), "The longest wait doubles each time"),
        (ask(after="waited + wait, wait * 2"), "double the longest wait, not the drawn one"),
        (
            ask(end="status not in (429, 502, 503) or wait > patience"),
            "give up where the next wait would pass the limit",
        ),
        (ask(end="status not in (429, 502, 503)"), "asked 200 times"),
        (ask(caught="Exception"), "ask stops with KeyError.*returned"),
        (ask().replace("return answer", "return answer[2]"), "returned a str, not tuple"),
    ],
    "percentile_latency": [
        (
            PERCENTILE.format(
                latencies="math.inf if end is None else end - sent for _, sent, end in requests",
                rank=RANK,
            ),
            "should have been sent",
        ),
        (
            PERCENTILE.format(
                latencies="end - due for due, _, end in requests if end is not None", rank=RANK
            ),
            "No answer is an infinitely late one",
        ),
        (PERCENTILE.format(latencies=LATENCIES, rank="percent * len(latencies) // 100"), "Sort"),
        (
            PERCENTILE.format(
                latencies=LATENCIES, rank="round(percent * len(latencies) / 100) - 1"
            ),
            "rounded up",
        ),
        (
            PERCENTILE.format(latencies=LATENCIES, rank=RANK).replace("sorted(", "list("),
            "Sort",
        ),
        (PERCENTILE.format(latencies=LATENCIES, rank="-1"), "19 of 20, took no longer"),
    ],
    "ask_service": [
        (client(sent="httpx.get(address)"), "the event's method is GET, not POST"),
        (client(sent='httpx.post(address, data={"image": image})'), "send JSON, and say so"),
        (client(sent="httpx.post(address, json=image)"), "the event's body is"),
        (client(sent="httpx.post(address, json={'file': image})"), "the event's body is"),
        (client(encoded="str(base64.b64encode(image))"), r"decode\(\) makes text of them"),
        (client(encoded="image.hex()"), "not the base64 text of the bytes"),
        (
            client(sent=RIGHT_CLIENT["sent"] + ".raise_for_status()"),
            "where the function answers with status 422, ask_service stopped with HTTPStatusError",
        ),
        (client(caught="TimeoutError"), "ConnectError, not ConnectionError: your library has"),
        (client(result='reply.json()["pred"]'), "returned a str, not tuple"),
        (
            client(result="reply.status_code, dict(reply.headers), reply.json()"),
            "return the three as they came",
        ),
        (client(result="reply.status_code, {}, reply.text"), "with their names in small letters"),
        (
            client(sent="[httpx.post(address, json=dict(image=image)) for _ in range(2)][-1]"),
            "the function was called 2 times, not once",
        ),
    ],
}

MAPPED = 'not ip.is_global or ip.is_multicast or getattr(ip, "ipv4_mapped", None)'
WRONG_ANSWERS["safe_address"].append(
    (safe_address(private=MAPPED), "urlsplit says so with a ValueError")
)
WRONG_ANSWERS["ask_patiently"].append(
    (
        """
def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    waited, longest = 0.0, first
    while True:
        try:
            status, headers, body = ask()
        except ConnectionError:
            status, headers, body = 503, {}, ""
        text = headers.get("retry-after", "")
        pause = (int(text) if text.isdigit() else 0) + draw() * longest
        again = status in (408, 429) or status > 500
        if not again or waited + pause > patience:
            return status, headers, body
        sleep(pause)
        waited, longest = waited + pause, longest * 2
""",
        "after the status 408 it asked again",
    )
)
