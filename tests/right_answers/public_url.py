"""Right answers to the exercises of notebook 07 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "open_way_in": [
        """
from lab_utils.logins import login_of

def open_way_in(app_port, far_end, user):
    return Tunnel(app_port, LoopbackWay(far_end), login_of(f"{user}:{secrets.token_hex(16)}"))
""",
        """
import random, string

def open_way_in(app_port, far_end, user):
    password = "".join(random.SystemRandom().choices(string.ascii_letters, k=24))
    way = LoopbackWay(far_end=far_end)
    return Tunnel(port=app_port, way=way, login=Login(user=user, password=password))
""",
        """
import os

def open_way_in(app_port, far_end, user):
    guest = Login(user, base64.b32encode(os.urandom(20)).decode())
    tunnel = Tunnel(app_port, LoopbackWay(far_end), guest, say=lambda line: None)
    assert tunnel.answers()
    return tunnel
""",
    ],
    "check_basic_auth": [
        """
import hmac

def same(one, other):
    return hmac.compare_digest(one, other)

def check_basic_auth(header, user, password):
    kind, space, text = (header or "").partition(" ")
    try:
        given = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return False
    return kind.lower() == "basic" and same(f"{user}:{password}".encode(), given)
""",
        """
import secrets

def check_basic_auth(header, user, password):
    def equal(pairs):
        return all([secrets.compare_digest(a, b) for a, b in pairs])
    if not header or header[:6].lower() != "basic ":
        return False
    try:
        name, colon, word = base64.b64decode(header[6:], validate=True).partition(b":")
    except ValueError:
        return False
    return bool(colon) and equal([(name, user.encode()), (word, password.encode())])
""",
        """
import hashlib, hmac, os

def check_basic_auth(header, user, password):
    key = os.urandom(32)
    def mac(data):
        return hmac.new(key, data, hashlib.sha256).digest()
    right = base64.b64encode(f"{user}:{password}".encode())
    kind, _, text = (header or "").encode().partition(b" ")
    return kind.lower() == b"basic" and mac(text) == mac(right)
""",
    ],
    "host_allowed": [
        """
import re

def host_allowed(host, allowed):
    found = re.fullmatch(r"(\\[[0-9a-fA-F:.]+\\]|[^\\[\\]:@/]+)(:\\d*)?", host or "")
    name = found[1].lower().rstrip(".") if found else ""
    try:
        return bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return name in allowed or name == "localhost"
""",
        """
import httpx

def host_allowed(host, allowed):
    try:
        name = httpx.URL(f"http://{host or ''}/").host.removesuffix(".")
        return name in allowed | {"localhost"} or bool(ipaddress.ip_address(name))
    except (ValueError, httpx.InvalidURL):
        return False
""",
        """
import contextlib
from urllib.parse import urlparse

def host_allowed(host, allowed):
    names = {"localhost", *allowed}
    with contextlib.suppress(ValueError):
        name = urlparse(f"http://{host or ''}").hostname or ""
        name = name[:-1] if name.endswith(".") else name
        return name in names or ipaddress.ip_address(name) is not None
    return False
""",
    ],
    "diagnose": [
        """
import httpx

def diagnose(url, login=None, timeout=10.0):
    try:
        answer = httpx.get(url, auth=login, timeout=timeout)
    except httpx.HTTPError:
        return "no answer"
    if "x-lab-tunnel" not in answer.headers:
        return "dead tunnel"
    if answer.status_code == 200:
        return "healthy"
    return "login refused" if answer.status_code == 401 else "dead app"
""",
        """
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

def diagnose(url, login=None, timeout=10.0):
    parts, headers = urlsplit(url), {}
    if login:
        headers["authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers=headers)
        answer = connection.getresponse()
    except (OSError, HTTPException):
        return "no answer"
    if not answer.getheader("X-Lab-Tunnel"):
        return "dead tunnel"
    return {200: "healthy", 401: "login refused"}.get(answer.status, "dead app")
""",
        """
def diagnose(url, login=None, timeout=10.0):
    request = Request(url)
    if login is not None:
        pair = base64.b64encode(bytes("%s:%s" % login, "utf-8"))
        request.add_header("Authorization", f"Basic {pair.decode()}")
    try:
        answer = urlopen(request, timeout=timeout)
    except HTTPError as error:
        answer = error
    except Exception:
        return "no answer"
    match answer.headers.get("X-Lab-Tunnel"), answer.status:
        case None, _:
            return "dead tunnel"
        case _, 200:
            return "healthy"
        case _, 401:
            return "login refused"
    return "dead app"
""",
    ],
}
