"""Right answers to the exercises of notebook 06 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "handle": [
        """
def answer(status, **document):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return dict(statusCode=status, body=json.dumps(document), headers=headers)

def image_of(event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body, validate=True).decode()
    document = json.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("image"), str):
        raise ValueError
    return base64.b64decode(document["image"].encode("ascii"), validate=True)

def handle(event, read, max_bytes=4_000_000):
    try:
        image = image_of(event)
    except (ValueError, RecursionError):
        return answer(400, error="This is not JSON with an image in base64.")
    if len(image) > max_bytes:
        return answer(413, error="too large")
    try:
        return answer(200, pred=read(image))
    except RecognizerError as error:
        return answer(422, error=str(error))
    except Exception:
        return answer(500, error="Something broke.")
""",
        """
from http import HTTPStatus

def handle(event, read, max_bytes=4_000_000):
    def decoded(text):
        return base64.b64decode(text, validate=True)
    status, document = HTTPStatus.BAD_REQUEST, {"error": "Look at the form of your request."}
    try:
        raw = event["body"]
        raw = decoded(raw) if event["isBase64Encoded"] else raw
        image = decoded(json.loads(raw)["image"])
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        if len(image) > max_bytes:
            status, document = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "too large"}
        else:
            status, document = HTTPStatus.OK, {"pred": read(image)}
    except BaseException as error:
        if status == 500:
            known = isinstance(error, RecognizerError)
            status, document = (422, {"error": f"{error}"}) if known else (500, {"error": "sorry"})
    headers = {"content-type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document)}
""",
        """
import binascii

def handle(event, read, max_bytes=4_000_000):
    def respond(status, key, value):
        headers = {"content-type": "application/json"}
        return {"statusCode": status, "headers": headers, "body": json.dumps({key: value})}
    try:
        body = event.get("body") or "null"
        if event.get("isBase64Encoded"):
            body = binascii.a2b_base64(body, strict_mode=True)
        match json.loads(body):
            case {"image": str(text)} if text:
                image = binascii.a2b_base64(text, strict_mode=True)
            case _:
                raise ValueError
    except (ValueError, RecursionError):
        return respond(400, "error", "wrong form")
    if len(image) > max_bytes:
        return respond(413, "error", "too many bytes")
    try:
        return respond(200, "pred", read(image))
    except Exception as error:
        known = isinstance(error, RecognizerError)
        return respond(422 if known else 500, "error", str(error) if known else "internal error")
""",
    ],
    "safe_address": [
        """
import ipaddress
from urllib.parse import urlparse
from text_recognizer.errors import AddressError

def public(text):
    ip = ipaddress.ip_address(text)
    ip = (ip.version == 6 and ip.ipv4_mapped) or ip
    return ip.is_global and not ip.is_multicast

def safe_address(url, resolve):
    try:
        scheme, host = urlparse(url).scheme, urlparse(url).hostname
    except ValueError as error:
        raise AddressError("no URL") from error
    found = list(resolve(host)) if scheme in {"http", "https"} and host else []
    if found and all(map(public, found)):
        return found[0]
    raise AddressError("not a public host")
""",
        """
import ipaddress
from urllib.parse import urlsplit
from text_recognizer.errors import AddressError

def safe_address(url, resolve):
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() not in ("http", "https"):
            raise ValueError("the scheme")
        first, *others = resolve(parts.hostname or "")
        for address in [first, *others]:
            ip = ipaddress.ip_address(address)
            ip = getattr(ip, "ipv4_mapped", None) or ip
            if ip.is_multicast or not ip.is_global:
                raise ValueError("the address")
    except ValueError as error:
        raise AddressError(f"Refused because of {error}.") from None
    return first
""",
        """
import ipaddress
import httpx
from text_recognizer.errors import AddressError

def safe_address(url, resolve):
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        raise AddressError("This is not a URL.")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise AddressError("Only http and https.")
    addresses = resolve(parts.host)
    ips = [ipaddress.ip_address(one) for one in addresses]
    ips = [getattr(ip, "ipv4_mapped", None) or ip for ip in ips]
    if not ips or any(ip.is_multicast or not ip.is_global for ip in ips):
        raise AddressError(f"{parts.host} is not public")
    return addresses[0]
""",
    ],
    "ask_patiently": [
        """
import itertools

def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    total = 0
    for n in itertools.count():
        try:
            status, headers, body = ask()
        except ConnectionError:
            status, headers, body = 503, {}, ""
        asked = headers.get("retry-after", "0")
        pause = (int(asked) if asked.isdigit() else 0) + draw() * first * 2**n
        total += pause
        if status not in {429, 502, 503} or total > patience:
            return [status, headers, body]
        sleep(pause)
""",
        """
def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    try:
        answer = ask()
    except ConnectionError:
        answer = (503, {}, "")
    if answer[0] in (429, 502, 503):
        asked = answer[1].get("retry-after", "")
        wait = float(asked) if set(asked) <= set("0123456789") and asked else 0.0
        wait += first * draw()
        if wait <= patience:
            sleep(wait)
            return ask_patiently(ask, sleep, draw, 2 * first, patience - wait)
    return answer
""",
        """
def answers(ask):
    while True:
        try:
            yield ask()
        except ConnectionError:
            yield 503, {}, ""

def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    left, longest = patience, first
    for status, headers, body in answers(ask):
        asked = headers.get("retry-after") or ""
        pause = (int(asked) if asked.isdecimal() else 0) + longest * draw()
        if status not in (429, 502, 503) or pause > left:
            return status, headers, body
        sleep(pause)
        left, longest = left - pause, longest * 2
""",
    ],
    "percentile_latency": [
        """
import numpy as np

def percentile_latency(requests, percent=95):
    late = np.array([np.inf if end is None else end - due for due, _, end in requests])
    return np.sort(late)[-(-percent * len(late) // 100) - 1]
""",
        """
import heapq

def percentile_latency(requests, percent=95):
    latencies = [math.inf if end is None else end - due for due, _, end in requests]
    rank = (percent * len(latencies) + 99) // 100
    return heapq.nsmallest(rank, latencies)[-1]
""",
        """
from fractions import Fraction

def percentile_latency(requests, percent=95):
    latencies = []
    for due, sent, answered in requests:
        latencies.append(float("inf") if answered is None else answered - due)
    latencies.sort()
    return latencies[math.ceil(Fraction(percent, 100) * len(latencies)) - 1]
""",
    ],
    "ask_service": [
        """
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

def ask_service(address, image):
    body = json.dumps({"image": base64.b64encode(image).decode("ascii")}).encode()
    request = Request(address, body, {"Content-Type": "application/json; charset=utf-8"})
    try:
        with urlopen(request, timeout=60) as reply:
            return reply.status, small(reply.headers), reply.read().decode()
    except HTTPError as error:
        return error.code, small(error.headers), error.read().decode()
    except (OSError, HTTPException) as error:
        raise ConnectionError(str(error)) from error

def small(headers):
    return {name.lower(): value for name, value in headers.items()}
""",
        """
import http.client
from urllib.parse import urlsplit

def ask_service(address, image):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    text = str(base64.b64encode(image), "ascii")
    kind = {"content-type": "application/json"}
    try:
        connection.request("POST", "/", json.dumps({"image": text}), kind)
        reply = connection.getresponse()
        names = {name.lower(): value for name, value in reply.getheaders()}
        return [reply.status, names, reply.read().decode()]
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{error!r}")
""",
        """
import requests

def ask_service(address, image):
    picture = base64.standard_b64encode(image).decode()
    try:
        reply = requests.request("POST", address, json=dict(image=picture), timeout=(5, 60))
    except requests.RequestException as error:
        raise ConnectionRefusedError("nobody there") from error
    return reply.status_code, {k.lower(): v for k, v in reply.headers.items()}, reply.text
""",
    ],
}
