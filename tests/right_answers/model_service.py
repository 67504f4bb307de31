"""Right answers to the exercises of notebook 06 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "handle": [
        """
from http import HTTPStatus

class Refused(Exception):
    pass

def answer(status, **document):
    return dict(
        statusCode=status, body=json.dumps(document),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )

def image_of(event):
    body = event.get("body")
    if not body:
        raise Refused("There is no body.")
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode()
        document = json.loads(body)
        if not isinstance(document, dict) or not isinstance(document.get("image"), str):
            raise Refused("Send an object with image.")
        return base64.b64decode(document["image"].encode("ascii"), validate=True)
    except ValueError:
        raise Refused("This is not JSON with an image in base64.")

def handle(event, read, max_bytes=4_000_000):
    try:
        image = image_of(event)
    except Refused as error:
        return answer(HTTPStatus.BAD_REQUEST, error=str(error))
    if len(image) > max_bytes:
        return answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error="too large")
    try:
        return answer(HTTPStatus.OK, pred=read(image))
    except RecognizerError as error:
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, error=str(error))
    except Exception:
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, error="Something broke.")
""",
        """
def handle(event, read, max_bytes=4_000_000):
    def answer(status, document):
        headers = {"content-type": "application/json"}
        return {"statusCode": status, "headers": headers, "body": json.dumps(document)}
    def decoded(text):
        return base64.b64decode(text, validate=True)
    try:
        raw = event["body"]
        raw = decoded(raw) if event.get("isBase64Encoded", False) else raw
        image = decoded(json.loads(raw)["image"])
    except Exception:
        return answer(400, {"error": "Look at the form of your request."})
    try:
        if len(image) > max_bytes:
            return answer(413, {"error": "That is too large."})
        text = read(image)
    except RecognizerError as error:
        return answer(422, {"error": f"{error}"})
    except BaseException:
        return answer(500, {"error": "We are sorry."})
    return answer(200, {"pred": text})
""",
        """
import binascii

def handle(event, read, max_bytes=4_000_000):
    status, document = 200, {}
    try:
        body = event.get("body") or "null"
        if event.get("isBase64Encoded"):
            body = binascii.a2b_base64(body, strict_mode=True)
        match json.loads(body):
            case {"image": str(text)} if text:
                image = binascii.a2b_base64(text, strict_mode=True)
            case _:
                raise ValueError
    except ValueError:
        status, document = 400, {"error": "wrong form"}
    else:
        if len(image) > max_bytes:
            status, document = 413, {"error": "too many bytes"}
        else:
            try:
                document = {"pred": read(image)}
            except Exception as error:
                known = isinstance(error, RecognizerError)
                status = 422 if known else 500
                document = {"error": str(error) if known else "internal error"}
    return {
        "statusCode": status, "body": json.dumps(document),
        "headers": {"content-type": "application/json"},
    }
""",
    ],
    "safe_address": [
        """
import ipaddress
from urllib.parse import urlparse
from text_recognizer.errors import AddressError

def public(text):
    ip = ipaddress.ip_address(text)
    if ip.version == 6 and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast

def safe_address(url, resolve):
    try:
        scheme, host = urlparse(url).scheme, urlparse(url).hostname
    except ValueError as error:
        raise AddressError("no URL") from error
    if scheme not in {"http", "https"} or host is None:
        raise AddressError("http or https, and a host")
    found = list(resolve(host))
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

def judged(address):
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if not ip.is_global or ip.is_multicast:
        raise AddressError(f"{address} is not public")
    return address

def safe_address(url, resolve):
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        raise AddressError("This is not a URL.")
    if parts.scheme not in ("http", "https") or not parts.host:
        raise AddressError("Only http and https.")
    addresses = [judged(one) for one in resolve(parts.host)]
    if not addresses:
        raise AddressError("unknown host")
    return addresses[0]
""",
    ],
    "ask_patiently": [
        """
import itertools

def seconds(headers):
    text = headers.get("retry-after", "0")
    return int(text) if text.isdigit() else 0

def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    total = 0
    for n in itertools.count():
        try:
            status, headers, body = ask()
        except ConnectionError:
            status, headers, body = 503, {}, ""
        if status not in {429, 502, 503}:
            break
        pause = seconds(headers) + draw() * first * 2**n
        if total + pause > patience:
            break
        total += pause
        sleep(pause)
    return [status, headers, body]
""",
        """
def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    try:
        answer = ask()
    except ConnectionError:
        answer = (503, {}, "")
    if answer[0] in (429, 502, 503):
        try:
            wait = float(answer[1]["retry-after"])
        except (KeyError, ValueError):
            wait = 0.0
        wait += first * draw()
        if wait <= patience:
            sleep(wait)
            return ask_patiently(ask, sleep, draw, 2 * first, patience - wait)
    return answer
""",
        """
class Patience:
    def __init__(self, seconds, longest):
        self.left, self.longest = seconds, longest

    def wait(self, answer, sleep, draw):
        status, headers, _ = answer
        if status not in (429, 502, 503):
            return False
        asked = headers.get("retry-after") or ""
        pause = (int(asked) if asked.isdecimal() else 0) + self.longest * draw()
        if pause > self.left:
            return False
        sleep(pause)
        self.left, self.longest = self.left - pause, self.longest * 2
        return True

def ask_patiently(ask, sleep, draw, first=0.25, patience=10.0):
    state = Patience(patience, first)
    while True:
        try:
            answer = ask()
        except ConnectionError:
            answer = 503, {}, ""
        if not state.wait(answer, sleep, draw):
            return answer
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
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

def ask_service(address, image):
    body = json.dumps({"image": base64.b64encode(image).decode("ascii")}).encode()
    request = Request(address, body, {"Content-Type": "application/json; charset=utf-8"})
    try:
        with urlopen(request, timeout=60) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()
    except URLError as error:
        raise ConnectionError(str(error.reason))
""",
        """
import http.client
from urllib.parse import urlsplit

def ask_service(address, image):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    text = str(base64.b64encode(image), "ascii")
    connection.request(
        "POST", "/", json.dumps({"image": text}), {"content-type": "application/json"}
    )
    reply = connection.getresponse()
    names = {name.lower(): value for name, value in reply.getheaders()}
    return [reply.status, names, reply.read().decode()]
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
