"""Checks of notebook 07: a way in, a password, a name, and what is wrong with a link.

Nothing outside this machine is asked: a small server on 127.0.0.1 takes the place of a link.
"""

import base64
import hmac
import random
import secrets
import sys
from functools import partial
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx

from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_result,
    expect_type,
    saying,
)
from lab_utils.lessons.public_url.loopback import FarEnd
from lab_utils.lessons.stand_in import StandIn, http_answer
from lab_utils.net import http_client
from lab_utils.tunnel import Tunnel

go_on = partial(checking.go_on, "public_url")

SECRET_PAGE = b"<html>only for the guest</html>"
LEAST_CHARACTERS = 16


@check
def open_way_in(function: Answer) -> str:
    """A stranger is refused and the guest gets the page, through two links with two passwords."""
    function.uses_a_tool()
    app = StandIn(http_answer("200 OK", body=SECRET_PAGE))
    with app.serving() as url:
        far_end = FarEnd()
        try:
            first, second = (_password_of_a_link(function, url, app, far_end) for _ in range(2))
        finally:
            far_end.close()
    alike = sum(map(str.__eq__, first, second))
    expect(
        alike <= len(first) / 2,
        f"two links have passwords with {alike} of {len(first)} characters in common, so who knows "
        "one can guess the other: make a new one for each with the module secrets. (Those of the "
        "module random, and times, can be predicted.)",
    )
    return "the guest gets the page, and strangers are refused."


def _password_of_a_link(function: Answer, url: str, app: StandIn, far_end: FarEnd) -> str:
    """Opens a link and visits it as two strangers and as the guest; the link's password."""
    state = random.getstate()
    random.seed(0)  # so that two of its passwords are the same
    try:
        with (
            mock.patch("time.time", return_value=1.0e9),  # the time is not a secret
            mock.patch("time.time_ns", return_value=10**18),
        ):
            tunnel = attempt(function, urlsplit(url).port, far_end, "anna")
        tunnel = expect_type(tunnel, Tunnel, "open_way_in")
        try:
            _expect_guests_only(tunnel, far_end, app)
        finally:
            tunnel.close()
    finally:
        random.setstate(state)
    return tunnel.password


def _expect_guests_only(tunnel: Tunnel, far_end: FarEnd, app: StandIn) -> None:
    expect(
        tunnel.alive() and tunnel.url == far_end.url,
        "the link is closed already, or is not the far end's: open a Tunnel through "
        "LoopbackWay(far_end), and return it without closing it (no with block).",
    )
    app.asked.clear()
    for login, password in ((None, "no"), (("anna", "guess"), "a guessed")):
        status, _ = _visit(tunnel.url, login)
        expect(
            status == 401 and not app.asked,
            f"a stranger with {password} password got status {status}, not 401: give the tunnel a "
            "login.",
        )
    expect(
        tunnel.user == "anna" and len(tunnel.password) >= LEAST_CHARACTERS,
        f"the link asks for the name {tunnel.user!r} and a password of {len(tunnel.password)} "
        f"characters, not for the name in `user`, 'anna', and at least {LEAST_CHARACTERS}.",
    )
    status, page = _visit(tunnel.url, (tunnel.user, tunnel.password))
    expect(
        status == 200 and page == SECRET_PAGE,
        f"with name and password, the answer has status {status} and is not the app's page: the "
        f"tunnel leads to port {tunnel.port}, and the app is at `app_port`.",
    )


def _visit(url: str, login: tuple[str, str] | None) -> tuple[int, bytes]:
    """Status and page; status 0 if no answer comes."""
    try:
        with http_client(10, local=True) as visitor:
            answer = visitor.get(url, auth=login)
    except httpx.HTTPError:
        return 0, b""
    return answer.status_code, answer.content


USER, PASSWORD = "guest", "Zx9-long_and:colon"


def _basic(data: bytes) -> str:
    return "Basic " + base64.b64encode(data).decode()


def _header(user: str, password: str) -> str:
    return _basic(f"{user}:{password}".encode())


RIGHT = _header(USER, PASSWORD)
TOKEN = RIGHT.split()[1]
STRANGERS = {
    "no header (None)": None,
    "an empty header": "",
    "a wrong password": _header(USER, PASSWORD[:-1] + "m"),
    "the password's first half": _header(USER, PASSWORD[:9]),
    "an empty password": _header(USER, ""),
    "a wrong name": _header("admin", PASSWORD),
    "name and password swapped": _header(PASSWORD, USER),
    "a longer password that starts with the right one": _header(USER, PASSWORD + "x"),
    "a longer password that ends with the right one": _header(USER, "x" + PASSWORD),
    "a space after the password": _header(USER, PASSWORD + " "),
    "a newline after the password": _header(USER, PASSWORD + "\n"),
    "only the colon of the password": _basic(b"guestZx9-long_and:colon"),
    "a colon within the name": _header("gu", "est" + PASSWORD),
    "a longer name that ends with the right one": _header("x" + USER, PASSWORD),
    "a longer name that starts with the right one": _header(USER + "x", PASSWORD),
    "no name": _header("", PASSWORD),
    "the name in other case": _header(USER.upper(), PASSWORD),
    "the password in other case": _header(USER, PASSWORD.swapcase()),
    "base64 text in other case": "Basic " + TOKEN.swapcase(),
    "base64 text whose end is in other case": "Basic " + TOKEN[:-3] + TOKEN[-3:].swapcase(),
    "another scheme": "Bearer " + TOKEN,
    "a scheme that ends like the right one": "XBasic " + TOKEN,
    "a scheme that starts like the right one": "Basics " + TOKEN,
    "a scheme without a space after it": "Basic" + TOKEN,
    "no scheme": TOKEN,
    "only the scheme": "Basic",
    "what isn't base64": "Basic not*base64!",
    "base64 of bytes that aren't text": _basic(b"\xff\xfe:\x80"),
    "base64 without a colon": _basic(b"guest"),
    "the right text with a * in it": f"Basic {TOKEN[:8]}*{TOKEN[8:]}",
    "letters beyond ASCII": "Basic gäst:wört",
}


@check
def check_basic_auth(function: Answer) -> str:
    """True for the right pair only; everything that strangers send is False, and no error."""

    def returns(wanted: bool, what: str, why: str, *arguments: str | None) -> None:
        expect_result(function, arguments, wanted, why, f"for {what}, {arguments}")

    colon = "a password may have colons, and a name has none"
    returns(True, "the right name and password", colon, RIGHT, USER, PASSWORD)
    for what, header in STRANGERS.items():
        why = "strangers may send anything, and are refused"
        returns(False, what, why, header, USER, PASSWORD)
    other, case = RIGHT.replace("Basic", "bASIC"), "case doesn't matter in a scheme's name"
    returns(True, "the scheme in other case", case, other, USER, PASSWORD)
    beyond = "a password with letters beyond ASCII, sent as UTF-8"
    bytes_ = "compare bytes: the texts of two passwords may have letters beyond ASCII"
    returns(True, beyond, bytes_, _header("anna", "pässwörd 東"), "anna", "pässwörd 東")
    returns(False, f"not {beyond}", bytes_, _header("anna", "pässwörd"), "anna", "passwörd")
    _expect_equal_time(function)
    return "the right login is let in, and strangers are not."


def _expect_equal_time(function: Answer) -> None:
    """Refusing takes the same time for every wrong password: see which function compares."""
    original, results, elsewhere = hmac.compare_digest, [], []
    swapped: list[tuple[dict, str]] = []

    def recorded(one: str | bytes, other: str | bytes) -> bool:
        results.append(original(one, other))
        return results[-1]

    def watch(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called is original and frame.f_code is not recorded.__code__:
            elsewhere.append(True)  # a name of it that was not found
        elif event == "call":
            names = frame.f_globals
            if names.get("__name__") == "hmac":
                elsewhere.append(True)  # two digests under a random key may be compared by ==
            for name in [name for name, value in names.items() if value is original]:
                names[name] = recorded
                swapped.append((names, name))

    before = sys.getprofile()
    patched = [mock.patch.object(one, "compare_digest", recorded) for one in (hmac, secrets)]
    with patched[0], patched[1]:
        sys.setprofile(watch)
        try:
            attempt(function, STRANGERS["a wrong password"], USER, PASSWORD)
        finally:
            sys.setprofile(before)
            for names, name in swapped:
                names[name] = original
    expect(
        bool(elsewhere) or False in results,
        "strangers are kept out, but == stops at the first byte that differs, so its time says "
        "how much of a guess was right: compare the password with hmac.compare_digest.",
    )


OWN_NAMES = {
    "lab.example.org": "it is in the set",
    "read.example.net": "it is in the set",
    "lab.example.org:8443": "a port may follow the name",
    "LAB.Example.org": "case doesn't matter in names",
    "lab.example.org.": "a dot at the end of a name changes nothing",
    "lab.example.org.:8443": "a dot at the end of a name changes nothing, and a port may follow",
    "localhost:7860": "localhost is this machine's own",
    "LocalHost": "case doesn't matter in names, localhost included",
    "localhost.:7860": "a dot at the end of a name changes nothing, and a port may follow",
    "127.0.0.1:7860": "an address in numbers cannot be made to lead elsewhere",
    "192.168.1.20": "an address in numbers cannot be made to lead elsewhere",
    "[::1]:7860": "IPv6 addresses are in brackets, before the port",
    "[::1]": "IPv6 addresses are in brackets, and a port may be missing",
}
FOREIGN_NAMES = {
    "evil.example": "it is not a name of this server",
    "lab.example.org.evil.example": "it belongs to the owner of evil.example",
    "lab.example.orgx": "it only starts like an allowed name",
    "evil-lab.example.org": "it only ends like an allowed name",
    "example.org": "a part of an allowed name is another name",
    "127.0.0.1.evil.example": "it is a name, though it starts like a number",
    "localhost.evil.example": "it belongs to the owner of evil.example",
    "evil-localhost": "it only ends like localhost",
    "evil.lab.example.org": "a name below an allowed one is another name",
    ".lab.example.org": "a dot may follow a name, and none comes before it",
    "lab.example.org@evil.example": "what comes before the @ is not a host",
    "": "an empty name is not an allowed name",
    None: "a missing name is not an allowed name",
    "[::1": "it is not a host at all",
    "1.2.3.4.5": "an IPv4 address has four numbers",
    "1.2.3": "an IPv4 address has four numbers",
    "999.1.1.1": "the numbers of an IPv4 address go up to 255",
    "12.34": "it has digits and a dot, and is not an address",
    "evil.example:80:80": "a colon does not make an address",
    "a:b": "a colon does not make an address",
    "[evil.example]": "brackets do not make an address",
}


@check
def host_allowed(function: Answer) -> str:
    """The allowed names in all their forms, localhost and numbers; nothing that looks alike."""
    allowed = {"lab.example.org", "read.example.net"}
    for host, why in (OWN_NAMES | FOREIGN_NAMES).items():
        expect_result(function, (host, allowed), host in OWN_NAMES, why, f"for the Host {host!r}")
    why = "only the names in `allowed` are allowed besides the machine's own"
    for host in ("other.example", "lab.example.org"):
        given = f"for {host}, with allowed={{'other.example'}}"
        expect_result(function, (host, {"other.example"}), host == "other.example", why, given)
    return "the link's own names pass, and borrowed ones do not."


MARK, OTHER_MARK = "X-Lab-Tunnel: 5f2c\r\n", "X-Lab-Tunnel: 77ab\r\n"
"""The gate's mark; its value is different for each tunnel."""
NGROK = "Ngrok-Error-Code: ERR_NGROK_3200\r\n"
CHALLENGE = 'WWW-Authenticate: Basic realm="Handwriting reader"\r\n'


LINKS = [
    ("the app's page comes, with the gate's mark", http_answer("200 OK", MARK), "healthy"),
    (
        "the gate refuses the login (401 with the mark)",
        http_answer("401 Unauthorized", MARK + CHALLENGE),
        "login refused",
    ),
    ("the gate answers 502 with its mark", http_answer("502 Bad Gateway", OTHER_MARK), "dead app"),
    ("the app answers 500", http_answer("500 Internal Server Error", MARK), "dead app"),
    ("the app answers 204", http_answer("204 No Content", MARK), "dead app"),
    ("ngrok says that no agent is there (404)", http_answer("404 Not Found", NGROK), "dead tunnel"),
    ("a proxy answers 502 without the mark", http_answer("502 Bad Gateway"), "dead tunnel"),
    ("another server asks for a login", http_answer("401 Unauthorized", CHALLENGE), "dead tunnel"),
    ("a hotel's page comes with 200, without the mark", http_answer("200 OK"), "dead tunnel"),
    ("the app answers 403", http_answer("403 Forbidden", MARK), "dead app"),
    ("the app answers 404", http_answer("404 Not Found", MARK), "dead app"),
    ("the answer is not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", "no answer"),
    ("the connection ends without an answer", b"", "no answer"),
    ("a server accepts and stays silent", None, "no answer"),
]
PATIENCE, LATE = 0.3, 2.0
"""The time-out in s for a silent server, and after how many s that server answers after all."""


@check
def diagnose(function: Answer) -> str:
    """One word for each place at which a link can be broken."""
    for what, answer, wanted in LINKS:
        silent = answer is None
        why = "an answer without the mark does not come from the gate, whatever its status; one "
        why += "with it does, and then the status says the rest"
        why = "what doesn't come within `timeout` is no answer" if silent else why
        link = StandIn(http_answer("200 OK", MARK) if silent else answer, LATE if silent else 0.0)
        patience = PATIENCE if silent else 5.0
        with link.serving() as url:
            arguments = (url, (USER, PASSWORD), patience)
            expect_result(function, arguments, wanted, why, f"if {what} (timeout={patience:g})")
        asked = [(one.method, one.headers.get("authorization")) for one in link.asked]
        expect(
            asked == [("GET", RIGHT)],
            f"if {what}, the link got these requests: {asked}. Send one, with GET and, as there is "
            "a login, the header Authorization: Basic, a space, and base64 of name:password.",
        )
    with saying("if nobody listens at the address any more"):
        expect_result(function, (url, (USER, PASSWORD), 5.0), "no answer", "there is no connection")
    link = StandIn(http_answer("401 Unauthorized", MARK + CHALLENGE))
    with link.serving() as url:
        attempt(function, url, None, 5.0)
    expect(
        bool(link.asked) and "authorization" not in link.asked[0].headers,
        "without a login (None), the request had an Authorization header.",
    )
    return "it says whether app, tunnel or network is broken."
