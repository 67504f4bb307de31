"""Typical mistakes in the exercises of notebook 07, and what the check must say about each."""

from answer_edits import edited

WAY_IN = """
import random
import secrets

from lab_utils.lessons.public_url.loopback import FarEnd, LoopbackWay
from lab_utils.tunnel import Login, Tunnel

def open_way_in(app_port, far_end, user):
    login = Login(user, secrets.token_urlsafe(16))
    tunnel = Tunnel(app_port, LoopbackWay(far_end), login)
    return tunnel
"""
MADE = "secrets.token_urlsafe(16)"
LOGIN = f"Login(user, {MADE})"

AUTH = """
import base64
import hmac

def check_basic_auth(header, user, password):
    if not header or not header.lower().startswith("basic "):
        return False
    text = header.split(" ")[-1]
    try:
        given = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(given, f"{user}:{password}".encode())
"""
SAME = 'hmac.compare_digest(given, f"{user}:{password}".encode())'
STARTS = 'not header.lower().startswith("basic ")'

HOST = """
import ipaddress
from urllib.parse import urlsplit

def host_allowed(host, allowed):
    try:
        name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
        if name in allowed or name == "localhost":
            return True
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
"""
HOST_BODY = HOST[HOST.index("    try:") :]
SPLIT = '(urlsplit(f"//{host or \'\'}").hostname or "").rstrip(".")'

DIAGNOSE = """
import base64
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

def diagnose(url, login=None, timeout=10.0):
    request = Request(url)
    if login is not None:
        text = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", "Basic " + text)
    try:
        with urlopen(request, timeout=timeout) as page:
            status, marked = page.status, "x-lab-tunnel" in page.headers
    except HTTPError as error:
        status, marked = error.code, "x-lab-tunnel" in error.headers
    except (OSError, HTTPException):
        return "no answer"
    if not marked:
        return "dead tunnel"
    return {200: "healthy", 401: "login refused"}.get(status, "dead app")
"""
UNMARKED = """    if not marked:
        return "dead tunnel"
"""
VERDICTS = '{200: "healthy", 401: "login refused"}'

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "open_way_in": [
        (
            edited(WAY_IN, (LOGIN, "None")),
            "without a password got status 200.*give the tunnel a login",
        ),
        (edited(WAY_IN, (MADE, '"correct-horse-battery"')), "the same password"),
        (
            edited(WAY_IN, (MADE, '"".join(random.choices("abcdefgh", k=20))')),
            "random can be predicted",
        ),
        (edited(WAY_IN, (MADE, '"guess"')), "guessed password got"),
        (edited(WAY_IN, ("(16)", "(6)")), "has 8 characters"),
        (edited(WAY_IN, ("Login(user,", 'Login("guest",')), "asks for the name 'guest', not for"),
        (edited(WAY_IN, ("Tunnel(app_port,", "Tunnel(1,")), "not the app's page"),
        (
            edited(WAY_IN, ("    return tunnel", "    with tunnel:\n        return tunnel")),
            "closed already",
        ),
        (edited(WAY_IN, ("Way(far_end)", "Way(FarEnd())")), "not the far end's"),
        (edited(WAY_IN, ("return tunnel", "return tunnel.url")), "returned a str, not Tunnel"),
    ],
    "check_basic_auth": [
        (edited(AUTH, (SAME, 'given == f"{user}:{password}".encode()')), "compare_digest"),
        (
            edited(AUTH, (SAME, 'given.decode().split(":") == [user, password]')),
            "the right name and password.*refused",
        ),
        (
            edited(AUTH, (SAME, 'hmac.compare_digest(given.decode(), user + ":" + password)')),
            "stopped check_basic_auth with UnicodeDecodeError",
        ),
        (
            edited(
                AUTH,
                (SAME, "hmac.compare_digest(given.decode('utf-8', 'replace'), user + password)"),
            ),
            "the right name and password.*refused|with TypeError",
        ),
        (
            edited(AUTH, (SAME, 'given.startswith(f"{user}:".encode())')),
            "a wrong password.*let in",
        ),
        (
            edited(AUTH, (STARTS, 'not header.startswith("Basic ")')),
            "the scheme in other case",
        ),
        (edited(AUTH, (f" or {STARTS}", "")), "another scheme.*let in"),
        (edited(AUTH, ("ValueError", "KeyError")), "what isn't base64.*with Error"),
        (edited(AUTH, ("not header or ", "")), "no header.*with AttributeError"),
        (
            """
import base64
import hmac

def check_basic_auth(header, user, password):
    right = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return hmac.compare_digest((header or "").lower().encode(), right.lower().encode())
""",
            "base64 text.*let in|other case.*let in",
        ),
        (
            edited(
                AUTH,
                (
                    SAME,
                    "hmac.compare_digest(given[-len(password):], password.encode())"
                    " and given.startswith(user.encode())",
                ),
            ),
            "let in",
        ),
        (
            edited(AUTH, (STARTS, '"basic" not in header.split(" ")[0].lower()')),
            "a scheme that ends like the right one.*let in",
        ),
        (
            edited(AUTH, (STARTS, 'not header.lower().startswith("basic")')),
            "a scheme that starts like the right one.*let in",
        ),
        (
            edited(
                AUTH,
                (SAME, 'hmac.compare_digest(b"", b"") and given == f"{user}:{password}".encode()'),
            ),
            "== stops at the first byte",
        ),
    ],
    "host_allowed": [
        (
            edited(HOST, (HOST_BODY, "    return host in allowed\n")),
            "a port may follow|no name",
        ),
        (
            edited(
                HOST,
                ("return bool(ipaddress.ip_address(name))", 'return name == "127.0.0.1"'),
            ),
            "192.168.1.20.*refused",
        ),
        (
            edited(
                HOST,
                ("name in allowed", "any(one in name for one in allowed)"),
            ),
            "evil.example' was allowed",
        ),
        (
            edited(
                HOST,
                ("    try:\n", ""),
                ("        name =", "    name ="),
                ("        if", "    try:\n        if"),
            ),
            "with ValueError",
        ),
        (
            edited(HOST, (SPLIT, '(host or "").rsplit(":", 1)[0].strip("[]").lower()')),
            "a dot at the end|a port may be missing",
        ),
        (
            edited(
                HOST,
                (
                    "bool(ipaddress.ip_address(name))",
                    'name.replace(".", "").isdigit() or ":" in name',
                ),
            ),
            "an IPv4 address has four numbers",
        ),
    ],
    "diagnose": [
        (
            edited(DIAGNOSE, (UNMARKED, ""), (VERDICTS, VERDICTS[:-1] + ', 404: "dead tunnel"}')),
            "proxy answers 502 without the mark.*does not come from the gate",
        ),
        (
            edited(DIAGNOSE, ("if not marked", "if not marked and status != 200")),
            "hotel's page",
        ),
        (
            edited(
                DIAGNOSE,
                (
                    f'{VERDICTS}.get(status, "dead app")',
                    '"healthy" if status < 500 else "dead app"',
                ),
            ),
            "401 with the mark",
        ),
        (edited(DIAGNOSE, ("(OSError, HTTPException)", "OSError")), "stopped with BadStatusLine"),
        (edited(DIAGNOSE, ('"Basic " + text', "':'.join(login)")), "Authorization header 'guest"),
        (edited(DIAGNOSE, ('"Basic " + text', "text")), "it is Basic, a space"),
        (
            edited(DIAGNOSE, ("timeout=timeout", "timeout=30")),
            "stays silent.*hand `timeout` on",
        ),
        (
            edited(DIAGNOSE, (VERDICTS, VERDICTS[:-1] + ', 403: "login refused"}')),
            "the app answers 403",
        ),
    ],
}
