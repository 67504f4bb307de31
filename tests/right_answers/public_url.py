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
    letters = string.ascii_letters + string.digits
    password = "".join(random.SystemRandom().choices(letters, k=20))
    way = LoopbackWay(far_end=far_end)
    return Tunnel(port=app_port, way=way, login=Login(user=user, password=password))
""",
        """
import os

def open_way_in(app_port, far_end, user):
    class Guest(Login):
        pass
    guest = Guest(user, base64.b32encode(os.urandom(20)).decode())
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
    match (header or "").split(" "):
        case [kind, text] if kind.casefold() == "basic":
            try:
                given = base64.b64decode(text, validate=True)
            except Exception:
                return False
            return mac(given) == mac(f"{user}:{password}".encode())
    return False
""",
        """
from hmac import compare_digest

def check_basic_auth(header, user, password):
    right = base64.b64encode(f"{user}:{password}".encode())
    kind, _, text = (header or "").encode().partition(b" ")
    return kind.lower() == b"basic" and compare_digest(text, right)
""",
    ],
    "host_allowed": [
        """
import re

def is_number(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

def host_allowed(host, allowed):
    found = re.fullmatch(r"(\\[[0-9a-fA-F:.]+\\]|[^\\[\\]:@/]+)(:\\d*)?", host or "")
    if not found:
        return False
    name = found[1].lower().rstrip(".")
    return name in allowed or name == "localhost" or is_number(name.strip("[]"))
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
from urllib.parse import urlparse

def host_allowed(host, allowed):
    if host is None:
        return False
    try:
        name = urlparse("http://" + host).hostname
    except ValueError:
        return False
    if not name:
        return False
    if name.endswith("."):
        name = name[:-1]
    names = {"localhost", *allowed}
    try:
        return name in names or ipaddress.ip_address(name) is not None
    except ValueError:
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
        text = base64.b64encode(f"{login[0]}:{login[1]}".encode()).decode("ascii")
        headers["authorization"] = "Basic " + text
    connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers=headers)
        answer = connection.getresponse()
    except (OSError, HTTPException):
        return "no answer"
    finally:
        connection.close()
    mark = answer.getheader("X-Lab-Tunnel")
    verdicts = {200: "healthy", 401: "login refused"}
    return verdicts.get(answer.status, "dead app") if mark else "dead tunnel"
""",
        """
def diagnose(url, login=None, timeout=10.0):
    headers = {}
    if login is not None:
        name, password = login
        pair = base64.b64encode(bytes(f"{name}:{password}", "utf-8"))
        headers = {"Authorization": f"Basic {pair.decode()}"}
    try:
        answer = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        answer = error
    except Exception:
        return "no answer"
    if answer.headers.get("X-Lab-Tunnel") is None:
        return "dead tunnel"
    match answer.status:
        case 200:
            return "healthy"
        case 401:
            return "login refused"
    return "dead app"
""",
    ],
}
