"""Typical mistakes in the exercises of notebook 07, and what the check must say about each.

Most are parts of the official solution, and what takes the place of each; the others are code.
"""

MADE = "secrets.token_urlsafe(16)"
TUNNEL = "return Tunnel(app_port, LoopbackWay(far_end), login)"
SAME = 'hmac.compare_digest(given, f"{user}:{password}".encode())'
PLAIN = 'given == f"{user}:{password}".encode()'
SCHEME = 'scheme.lower() != "basic"'
SPLIT = '(urlsplit(f"//{host or \'\'}").hostname or "").rstrip(".")'
NUMERIC = "ipaddress.ip_address(name)\n"
VERDICTS = '{200: "healthy", 401: "login refused"}'


WRONG_ANSWERS: dict[str, list[tuple[str, ...]]] = {
    "open_way_in": [
        (f"Login(user, {MADE})", "None", "give the tunnel a login"),
        (MADE, '"correct-horse-battery"', "21 of 21 characters in common"),
        (MADE, "f\"{__import__('datetime').datetime.now():%Y%m%d%H%M%S%f}\"", "and times, can be"),
        (
            MADE,
            '"".join(__import__("random").choices("abcdefgh", k=20))',
            "random, and times, can be predicted",
        ),
        ("(16)", "(6)", "a password of 8 characters"),
        ("Login(user,", 'Login("guest",', "asks for the name 'guest'"),
        ("Tunnel(app_port,", "Tunnel(1,", "not the app's page"),
        (TUNNEL, TUNNEL.replace("return ", "with ") + " as it:\n        return it", "is closed"),
        ("Way(far_end),", "Way(FarEnd()),", "not the far end's"),
    ],
    "check_basic_auth": [
        (SAME, PLAIN, "compare_digest"),
        (SAME, 'given.decode().split(":") == [user, password]', "the right name.* returned False"),
        (
            SAME,
            "hmac.compare_digest(given.decode('utf-8', 'replace'), user + ':' + password)",
            "beyond ASCII|stopped with TypeError",
        ),
        (SCHEME, 'scheme != "Basic"', "the scheme in other case.* returned False"),
        (SCHEME, "False", "another scheme.* returned True"),
        ('(header or "").', "header.", "no header.*with AttributeError"),
        (
            """
import hmac

def check_basic_auth(header, user, password):
    right = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return hmac.compare_digest((header or "").lower().encode(), right.lower().encode())
""",
            "other case.* returned True",
        ),
        (
            SAME,
            "hmac.compare_digest(given[-len(password):], password.encode())"
            " and given.startswith(user.encode())",
            "returned True",
        ),
        (SCHEME, '"basic" not in scheme.lower()', "that ends like the right one.* returned True"),
        (SCHEME, 'not scheme.lower().startswith("basic")', "starts like the right one"),
        (SAME, f'hmac.compare_digest(b"", b"") and {PLAIN}', "== stops at the first byte"),
        ("validate=True)", "validate=True).strip()", "space after the password"),
    ],
    "host_allowed": [
        (
            "def host_allowed(host, allowed):\n    return host in allowed",
            "a port may follow|no name",
        ),
        (
            'name == "localhost"',
            'host == "localhost" or host.startswith("localhost:")',
            "LocalHost",
        ),
        ("name in allowed", "any(one in name for one in allowed)", "evil.example', .*True"),
        (SPLIT, '(host or "").rsplit(":", 1)[0].strip("[]").lower()', "a dot at the end|port"),
        (NUMERIC, 'return name.replace(".", "").isdigit() or ":" in name\n', "has four numbers"),
        ('name == "localhost"', 'name.endswith("localhost")', "only ends like localhost"),
        (
            "name in allowed",
            "any(f'.{name}'.endswith(f'.{one}') for one in allowed)",
            "below an allowed one",
        ),
        ('rstrip(".")', 'strip(".")', "none comes before it"),
        ("    try:", '    allowed.add("localhost")\n    try:', "changed what it was given"),
    ],
    "diagnose": [
        (
            '    if not marked:\n        return "dead tunnel"\n',
            "",
            VERDICTS,
            VERDICTS[:-1] + ', 404: "dead tunnel"}',
            "proxy answers 502 without the mark.*does not come from the gate",
        ),
        ("if not marked", "if not marked and status != 200", "hotel's page"),
        (
            f'{VERDICTS}.get(status, "dead app")',
            '"healthy" if status < 500 else "dead app"',
            "401 with the mark",
        ),
        ("(OSError, HTTPException)", "OSError", "stopped with BadStatusLine"),
        ('f"Basic {text}"', "':'.join(login)", "'guest:.* Basic, a space, and base64"),
        ("timeout=timeout", "timeout=30", r"stays silent \(timeout=0.3\)"),
        (VERDICTS, VERDICTS[:-1] + ', 403: "login refused"}', "the app answers 403"),
    ],
}
