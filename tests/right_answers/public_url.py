"""Right answers to the exercises of notebook 07 in other styles than the official one."""

RIGHT_ANSWERS: dict[str, list[str]] = {
    "listening_addresses": [
        """
def listening_addresses(lines):
    sockets = [line.split() for line in lines if " 0A " in line]
    return [decoded(fields[1]) for fields in sockets]

def decoded(text):
    address, port = text.split(":")
    words = [address[i : i + 8] for i in range(0, len(address), 8)]
    packed = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    ip = ipaddress.ip_address(packed)
    if ip.version == 6 and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    who = "one network"
    if ip.is_unspecified:
        who = "every network"
    if ip.is_loopback:
        who = "this machine"
    return [str(ip), int(port, 16), who]
""",
        """
import struct

def listening_addresses(lines):
    def one(line):
        address, port = line.split()[1].split(":")
        count = len(address) // 8
        raw = struct.pack(f"<{count}I", *struct.unpack(f">{count}I", bytes.fromhex(address)))
        ip = ipaddress.ip_address(raw)
        ip = getattr(ip, "ipv4_mapped", None) or ip
        reach = {(True, False): "this machine", (False, True): "every network"}
        return str(ip), int(port, 16), reach.get((ip.is_loopback, ip.is_unspecified), "one network")
    return [one(line) for line in lines if line.split()[3] == "0A"]
""",
        """
def listening_addresses(lines):
    found = []
    for line in lines[1:]:
        _, local, _, state, *_ = line.split()
        if int(state, 16) != 10:
            continue
        host, _, port = local.rpartition(":")
        pieces = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
        family = socket.AF_INET if len(pieces) == 1 else socket.AF_INET6
        text = socket.inet_ntop(family, b"".join(pieces)).removeprefix("::ffff:")
        if text.startswith("127.") or text == "::1":
            who = "this machine"
        elif text in ("0.0.0.0", "::"):
            who = "every network"
        else:
            who = "one network"
        found.append((text, int(port, base=16), who))
    return found
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
