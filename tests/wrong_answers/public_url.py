"""Typical mistakes in the exercises of notebook 07, and what the check must say about each."""

WAY_IN = """
import secrets

from lab_utils.lessons.public_url.loopback import FarEnd, LoopbackWay
from lab_utils.tunnel import Tunnel
from lab_utils.tunnel.login import Login

def open_way_in(app_port, far_end, user):
    login = {login}
    {opened}
"""
GUEST = {
    "login": "Login(user, secrets.token_urlsafe(16))",
    "opened": "return Tunnel(app_port, LoopbackWay(far_end), login)",
}

AUTH = """
import base64
import hmac

def check_basic_auth(header, user, password):
    if not header {scheme}:
        return False
    text = header.split(" ")[-1]
    try:
        given = base64.b64decode(text{validate})
    except {caught}:
        return False
    return {same}
"""
LOGIN = {
    "scheme": 'or not header.lower().startswith("basic ")',
    "validate": ", validate=True",
    "caught": "ValueError",
    "same": 'hmac.compare_digest(given, f"{user}:{password}".encode())',
}

HOST = """
import ipaddress
from urllib.parse import urlsplit

def host_allowed(host, allowed):
    {body}
"""

DIAGNOSE = """
import base64
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

def diagnose(url, login=None, timeout=10.0):
    request = Request(url)
    if login is not None:
        text = base64.b64encode(":".join(login).encode()).decode()
        request.add_header("Authorization", {sent})
    try:
        with urlopen(request{patience}) as page:
            status, marked = page.status, "x-lab-tunnel" in page.headers
    except HTTPError as error:
        status, marked = error.code, "x-lab-tunnel" in error.headers
    except {caught}:
        return "no answer"
    {verdict}
"""
LINK = {
    "sent": '"Basic " + text',
    "patience": ", timeout=timeout",
    "caught": "(OSError, HTTPException)",
    "verdict": """if not marked:
        return "dead tunnel"
    return {200: "healthy", 401: "login refused"}.get(status, "dead app")""",
}

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "open_way_in": [
        (
            WAY_IN.format(**GUEST | {"login": "None"}),
            "without a password got status 200.*give the tunnel a login",
        ),
        (
            WAY_IN.format(**GUEST | {"login": 'Login(user, "correct-horse-battery")'}),
            "the same password",
        ),
        (
            WAY_IN.format(
                **GUEST
                | {"login": 'Login(user, "".join(__import__("random").choices("abcdef", k=20)))'}
            ),
            "random can be predicted",
        ),
        (WAY_IN.format(**GUEST | {"login": 'Login(user, "guess")'}), "guessed password got"),
        (
            WAY_IN.format(**GUEST | {"login": "Login(user, secrets.token_urlsafe(6))"}),
            "has 8 characters",
        ),
        (
            WAY_IN.format(**GUEST | {"login": 'Login("guest", secrets.token_urlsafe(16))'}),
            "asks for the name 'guest', not for",
        ),
        (
            WAY_IN.format(**GUEST | {"opened": "return Tunnel(1, LoopbackWay(far_end), login)"}),
            "not the app's page",
        ),
        (
            WAY_IN.format(
                **GUEST
                | {
                    "opened": "with Tunnel(app_port, LoopbackWay(far_end), login) as tunnel:\n"
                    "        return tunnel"
                }
            ),
            "closed already",
        ),
        (
            WAY_IN.format(
                **GUEST | {"opened": "return Tunnel(app_port, LoopbackWay(FarEnd()), login)"}
            ),
            "not the far end's",
        ),
        (
            WAY_IN.format(
                **GUEST | {"opened": "return Tunnel(app_port, LoopbackWay(far_end), login).url"}
            ),
            "returned a str, not Tunnel",
        ),
    ],
    "check_basic_auth": [
        (
            AUTH.format(**LOGIN | {"same": 'given == f"{user}:{password}".encode()'}),
            "compare_digest",
        ),
        (
            AUTH.format(**LOGIN | {"same": 'given.decode().split(":") == [user, password]'}),
            "the right name and password.*refused",
        ),
        (
            AUTH.format(
                **LOGIN | {"same": 'hmac.compare_digest(given.decode(), user + ":" + password)'}
            ),
            "stopped check_basic_auth with UnicodeDecodeError",
        ),
        (
            AUTH.format(
                **LOGIN
                | {
                    "same": "hmac.compare_digest(given.decode('utf-8', 'replace'), "
                    "f'{user}:{password}')"
                }
            ),
            "with TypeError",
        ),
        (
            AUTH.format(**LOGIN | {"same": 'given.startswith(f"{user}:".encode())'}),
            "a wrong password.*let in",
        ),
        (
            AUTH.format(**LOGIN | {"scheme": 'or not header.startswith("Basic ")'}),
            "the scheme in other case",
        ),
        (AUTH.format(**LOGIN | {"scheme": ""}), "another scheme.*let in"),
        (AUTH.format(**LOGIN | {"caught": "KeyError"}), "what is no base64.*with Error"),
        (AUTH.format(**LOGIN).replace("not header or", ""), "no header.*with AttributeError"),
    ],
    "host_allowed": [
        (HOST.format(body="return host in allowed"), "a port may follow|no name"),
        (
            HOST.format(
                body='name = (host or "").split(":")[0].lower().rstrip(".")\n'
                '    return name in allowed or name in ("localhost", "127.0.0.1")'
            ),
            "192.168.1.20.*refused",
        ),
        (
            HOST.format(
                body="name = (host or '').lower()\n"
                "    return any(one in name for one in allowed | {'localhost'}) "
                "or name.strip('[')[:1] in {'1', ':'}"
            ),
            "evil.example' was allowed",
        ),
        (
            HOST.format(
                body="""name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
    if name in allowed or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False"""
            ),
            "with ValueError",
        ),
        (
            HOST.format(
                body="""name = (host or "").rsplit(":", 1)[0].strip("[]").lower()
    if name in allowed or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False"""
            ),
            "a dot at the end|a port may be missing",
        ),
    ],
    "diagnose": [
        (
            DIAGNOSE.format(
                **LINK
                | {
                    "verdict": 'return {200: "healthy", 401: "login refused", 404: "dead tunnel"}'
                    '.get(status, "dead app")'
                }
            ),
            "proxy answers 502 without the mark.*does not come from the gate",
        ),
        (
            DIAGNOSE.format(
                **LINK
                | {
                    "verdict": 'if status == 200:\n        return "healthy"\n'
                    '    if not marked:\n        return "dead tunnel"\n'
                    '    return "login refused" if status == 401 else "dead app"'
                }
            ),
            "hotel's page",
        ),
        (
            DIAGNOSE.format(
                **LINK
                | {
                    "verdict": 'if not marked:\n        return "dead tunnel"\n'
                    '    return "healthy" if status < 500 else "dead app"'
                }
            ),
            "401 with the mark",
        ),
        (DIAGNOSE.format(**LINK | {"caught": "OSError"}), "stopped with BadStatusLine"),
        (DIAGNOSE.format(**LINK | {"sent": "':'.join(login)"}), "Authorization header 'guest"),
        (DIAGNOSE.format(**LINK | {"sent": "text"}), "It is|it is Basic, a space"),
        (DIAGNOSE.format(**LINK | {"patience": ", timeout=30"}), "stays silent.*hand `timeout` on"),
    ],
}

RIGHT = 'hmac.compare_digest(given, f"{user}:{password}".encode())'
EQUAL = """
import base64
import hmac

def check_basic_auth(header, user, password):
    right = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return hmac.compare_digest((header or "").lower().encode(), right.lower().encode())
"""
WRONG_ANSWERS["check_basic_auth"] += [
    (EQUAL, "base64 text.*let in|other case.*let in"),
    (
        AUTH.format(
            **LOGIN
            | {
                "same": "hmac.compare_digest(given[-len(password):], password.encode())"
                " and given.startswith(user.encode())"
            }
        ),
        "let in",
    ),
    (
        AUTH.format(**LOGIN | {"scheme": 'or "basic" not in header.split(" ")[0].lower()'}),
        "a scheme that ends like the right one.*let in",
    ),
    (
        AUTH.format(**LOGIN | {"scheme": 'or not header.lower().startswith("basic")'}),
        "a scheme that starts like the right one.*let in",
    ),
    (
        AUTH.format(
            **LOGIN
            | {"same": 'hmac.compare_digest(b"", b"") and given == f"{user}:{password}".encode()'}
        ),
        "== stops at the first byte",
    ),
]
WRONG_ANSWERS["host_allowed"].append(
    (
        HOST.format(
            body="""try:
        name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
    except ValueError:
        return False
    number = name.replace(".", "").isdigit() or ":" in name
    return name in allowed or name == "localhost" or number"""
        ),
        "an IPv4 address has four numbers",
    )
)
WRONG_ANSWERS["diagnose"].append(
    (
        DIAGNOSE.format(
            **LINK
            | {
                "verdict": """if not marked:
        return "dead tunnel"
    return {200: "healthy", 401: "login refused", 403: "login refused"}.get(status, "dead app")"""
            }
        ),
        "the app answers 403",
    )
)
