"""Checks of notebook 07: who reaches a server, a password, a name, and what is wrong with a link.

Nothing outside this machine is asked: a small server on 127.0.0.1 stands in for a link.
"""

import base64
import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lab_utils.lessons.checking import attempt, expect, expect_type, fail, passed

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
LISTENS, TALKS, ENDS = "0A", "01", "06"
HERE, ONE, EVERY = "this machine", "one network", "every network"


def table_line(address: str, port: int, state: str = LISTENS, number: int = 0) -> str:
    """A line of /proc/net/tcp or tcp6, as Linux writes it on common processors."""
    packed = ipaddress.ip_address(address).packed
    words = (packed[i : i + 4][::-1].hex().upper() for i in range(0, len(packed), 4))
    local, far = f"{''.join(words)}:{port:04X}", f"{'0' * 2 * len(packed)}:0000"
    return f"{number:4}: {local} {far} {state} 00000000:00000000 00:00000000 00000000  1000"


def listening_addresses(function: Callable[[list[str]], list[tuple[str, int, str]]]) -> None:
    """Listening sockets alone, their addresses and ports decoded, and who reaches each."""
    _expect_listeners(function, [HEADER, table_line("127.0.0.1", 7860)])
    result = attempt(function, [HEADER])
    expect(result == [], f"of a table with its header alone came {result!r}, not an empty list.")
    for address in ("0.0.0.0", "192.168.1.20", "10.0.0.7", "127.0.0.53", "203.0.113.9"):
        _expect_listeners(function, [HEADER, table_line(address, 80)])
    for address in ("::1", "::", "2001:db8::17", "fe80::1:2", "::ffff:127.0.0.1", "::ffff:0:0"):
        _expect_listeners(function, [HEADER, table_line(address, 65535)])
    busy = [("127.0.0.1", 7860, TALKS), ("0.0.0.0", 8888, LISTENS), ("192.168.1.20", 22, ENDS)]
    busy += [("127.0.0.1", 7860, LISTENS), ("10.0.0.7", 443, TALKS)]
    lines = [table_line(*one, number=number) for number, one in enumerate(busy)]
    _expect_listeners(function, [HEADER, *lines])
    passed(function, "who listens, where, and who can reach it.")


def _expect_listeners(function: Callable, lines: list[str]) -> None:
    result = attempt(function, list(lines))
    expect_type(result, list, "listening_addresses")
    wanted = [_decoded(line) for line in lines[1:] if line.split()[3] == LISTENS]
    for one in result:
        expect(
            isinstance(one, tuple) and len(one) == 3,
            f"the list holds {one!r}, not tuples of address, port and who reaches it.",
        )
    expect(
        len(result) == len(wanted),
        f"of {len(lines) - 1} sockets, {len(wanted)} of which listen, came {len(result)}: look at "
        f"the state, which is {LISTENS} for those that listen, and leave the header out.",
    )
    for (address, port, reach), line, right in zip(result, _listening(lines), wanted, strict=True):
        field_ = line.split()[1]
        expect(
            _plain(address) == right[0],
            f"of {field_}, the address is {right[0]}, not {address}: the bytes of each group of "
            "four stand last first.",
        )
        expect(
            port == right[1],
            f"of {field_}, the port is the number {right[1]}, not {port!r}: it is hexadecimal.",
        )
        expect(
            reach == right[2],
            f"a server that listens on {address} is reached from {right[2]!r}, not "
            f"{reach!r}.{_why(right[0], address)}",
        )


def _listening(lines: list[str]) -> list[str]:
    return [line for line in lines[1:] if line.split()[3] == LISTENS]


def _decoded(line: str) -> tuple[str, int, str]:
    text, _, port = line.split()[1].partition(":")
    raw = bytes.fromhex(text)
    packed = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    ip = ipaddress.ip_address(_plain(str(ipaddress.ip_address(packed))))
    reach = HERE if ip.is_loopback else EVERY if ip.is_unspecified else ONE
    return str(ip), int(port, 16), reach


def _plain(address: str) -> str:
    """The usual form of an address; IPv4 within IPv6 becomes IPv4."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _why(plain: str, written: str) -> str:
    if plain != written:
        return " It is an IPv4 address, written as IPv6."
    if ipaddress.ip_address(plain).is_loopback:
        return " All of 127.0.0.0/8, and ::1, are loopback addresses."
    if ipaddress.ip_address(plain).is_unspecified:
        return " It stands for all addresses of the machine."
    return " It is the machine's address in a network."


USER, PASSWORD = "guest", "Zx9-long_and:colon"


def check_basic_auth(function: Callable[[str | None, str, str], bool]) -> None:
    """True for the right pair alone; everything that strangers send is False, and no error."""
    _expect_login(function, _header(USER, PASSWORD), True, "the right name and password")
    wrong = {
        "no header (None)": None,
        "an empty header": "",
        "a wrong password": _header(USER, PASSWORD[:-1] + "m"),
        "the password's first half": _header(USER, PASSWORD[:9]),
        "an empty password": _header(USER, ""),
        "a wrong name": _header("admin", PASSWORD),
        "name and password swapped": _header(PASSWORD, USER),
        "a longer password that starts with the right one": _header(USER, PASSWORD + "x"),
        "another scheme": "Bearer " + _header(USER, PASSWORD).split()[1],
        "the scheme alone": "Basic",
        "what is no base64": "Basic not*base64!",
        "base64 of bytes that are no text": "Basic " + base64.b64encode(b"\xff\xfe:\x80").decode(),
        "base64 without a colon": "Basic " + base64.b64encode(b"guest").decode(),
        "letters beyond ASCII": "Basic gäst:wört",
    }
    for what, header in wrong.items():
        _expect_login(function, header, False, what)
    right = _header(USER, PASSWORD)
    _expect_login(function, right.replace("Basic", "bASIC"), True, "the scheme in other case")
    expect(
        _answer(function, _header("anna", "pässwörd 東"), "anna", "pässwörd 東") is True,
        "a right password with letters beyond ASCII was refused: it travels as UTF-8, and "
        "compare_digest takes bytes of any kind, but of texts only ASCII.",
    )
    expect(
        _answer(function, _header("anna", "pässwörd"), "anna", "passwörd") is False,
        "a wrong password with letters beyond ASCII was let in.",
    )
    names = function.__code__.co_names
    space = getattr(function, "__globals__", {})
    expect(
        "compare_digest" in names or any(space.get(name) is hmac.compare_digest for name in names),
        "all answers are right, but == stops at the first byte that differs, and so tells by its "
        "time how much was right: use hmac.compare_digest.",
    )
    passed(function, "the right login comes in, and a stranger does not.")


def _header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _answer(function: Callable, header: str | None, user: str, password: str) -> bool:
    result = attempt(function, header, user, password)
    expect_type(result, bool, "check_basic_auth")
    return result


def _expect_login(function: Callable, header: str | None, right: bool, what: str) -> None:
    try:
        result = function(header, USER, PASSWORD)
    except Exception as error:
        fail(
            f"{what}, {header!r}, stopped check_basic_auth with {type(error).__name__}: whatever "
            "a stranger sends, the answer is False.",
        )
    if result is None or result is ...:
        attempt(function, header, USER, PASSWORD)
    expect_type(result, bool, "check_basic_auth")
    expect(
        result is right,
        f"{what}, {header!r}, was {'refused' if right else 'let in'}; the name is {USER!r} and "
        f"the password {PASSWORD!r}.",
    )


ALLOWED = frozenset({"lab.example.org", "read.example.net"})


def host_allowed(function: Callable[[str | None, set[str]], bool]) -> None:
    """The allowed names in all their forms, localhost and numbers; nothing that looks alike."""
    own = {
        "lab.example.org": "it is in the set.",
        "read.example.net": "it is in the set.",
        "lab.example.org:8443": "a port may follow the name.",
        "LAB.Example.org": "names have no case.",
        "lab.example.org.": "a dot at the end of a name changes nothing.",
        "localhost:7860": "localhost is this machine's own.",
        "127.0.0.1:7860": "an address in numbers cannot be made to lead elsewhere.",
        "192.168.1.20": "an address in numbers cannot be made to lead elsewhere.",
        "[::1]:7860": "IPv6 addresses stand in brackets, before the port.",
        "[::1]": "IPv6 addresses stand in brackets, and a port may be missing.",
    }
    foreign = {
        "evil.example": "it is nobody's here.",
        "lab.example.org.evil.example": "it belongs to whoever owns evil.example.",
        "evil-lab.example.org": "it only ends like an allowed name.",
        "example.org": "a part of an allowed name is another name.",
        "127.0.0.1.evil.example": "it is a name, though it starts like a number.",
        "localhost.evil.example": "it belongs to whoever owns evil.example.",
        "lab.example.org@evil.example": "what stands before the @ is no host.",
        "": "no name is no allowed name.",
        None: "no name is no allowed name.",
        "[::1": "it is no host at all.",
    }
    for host, why in (own | foreign).items():
        try:
            result = function(host, set(ALLOWED))
        except Exception as error:
            fail(
                f"the Host {host!r} stopped host_allowed with {type(error).__name__}: whatever a "
                "stranger sends, the answer is True or False.",
            )
        if result is None or result is ...:
            attempt(function, host, set(ALLOWED))
        expect_type(result, bool, "host_allowed")
        expect(
            result is (host in own),
            f"the Host {host!r} was {'allowed' if result else 'refused'}: {why}",
        )
    expect(
        attempt(function, "other.example", {"other.example"}) is True
        and attempt(function, "lab.example.org", {"other.example"}) is False,
        "with allowed={'other.example'}, that name alone is allowed besides the machine's own.",
    )
    passed(function, "the link's own names pass, and borrowed ones do not.")


MARK = "X-Lab-Tunnel: 5f2c\r\n"


@dataclass
class _Link:
    """What stands at the link's address: raw bytes of an answer; None for a page much too late."""

    answer: bytes | None
    asked: list[bytes] = field(default_factory=list)


def _http(status: str, headers: str = "", body: str = "<html>a page</html>") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


NGROK = "Ngrok-Error-Code: ERR_NGROK_3200\r\n"
CHALLENGE = 'WWW-Authenticate: Basic realm="Handwriting reader"\r\n'
LINKS = [
    ("the app's page comes, with the gate's mark", _http("200 OK", MARK), "healthy"),
    (
        "the gate refuses the login (401 with the mark)",
        _http("401 Unauthorized", MARK + CHALLENGE),
        "login refused",
    ),
    ("the gate answers 502 with its mark", _http("502 Bad Gateway", MARK), "dead app"),
    ("the app answers 500", _http("500 Internal Server Error", MARK), "dead app"),
    ("ngrok says that no agent is there (404)", _http("404 Not Found", NGROK), "dead tunnel"),
    ("a proxy answers 502 without the mark", _http("502 Bad Gateway"), "dead tunnel"),
    ("another server asks for a login", _http("401 Unauthorized", CHALLENGE), "dead tunnel"),
    ("a hotel's page comes with 200, without the mark", _http("200 OK"), "dead tunnel"),
    ("what answers is no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", "no answer"),
    ("the connection ends without an answer", b"", "no answer"),
    ("a server accepts and stays silent", None, "no answer"),
]
PATIENCE, LATE = 0.3, 2.0
"""s that the check lets wait for a silent server, and after which that one answers all the same."""


def diagnose(function: Callable[[str, tuple[str, str] | None, float], str]) -> None:
    """One word for each place at which a link can be broken."""
    for what, answer, wanted in LINKS:
        link = _Link(answer)
        with _standing(link) as url:
            _expect_diagnosis(function, url, what, wanted)
        expect(bool(link.asked), f"where {what}, diagnose did not ask the address at `url`.")
        given = _authorization(link.asked[0])
        expect(
            given == _header(USER, PASSWORD),
            f"with a login, the link was asked with the Authorization header {given!r}: it is "
            "Basic, a space, and base64 of name:password.",
        )
    _expect_diagnosis(function, url, "nobody listens at the address any more", "no answer")
    link = _Link(_http("401 Unauthorized", MARK + CHALLENGE))
    with _standing(link) as url:
        attempt(function, url, None, 5.0)
    expect(
        bool(link.asked) and _authorization(link.asked[0]) is None,
        "without a login (None), the link was asked with an Authorization header.",
    )
    passed(function, "app, tunnel and network are told apart.")


def _expect_diagnosis(function: Callable, url: str, what: str, wanted: str) -> None:
    patience = PATIENCE if "silent" in what else 5.0
    result = attempt(function, url, (USER, PASSWORD), patience)
    expect_type(result, str, "diagnose")
    expect(
        result == wanted, f"where {what}, the diagnosis is {result!r}, not {wanted!r}.{_clue(what)}"
    )


def _clue(what: str) -> str:
    if "silent" in what:
        return f" It was to wait for {PATIENCE} s: hand `timeout` on."
    if "without the mark" in what or "another server" in what or "ngrok" in what:
        return " Whoever answers without the mark is not the gate, whatever the status."
    if "mark" in what or "app answers" in what:
        return " The mark says that the gate was reached; then the status tells the rest."
    return ""


def _authorization(request: bytes) -> str | None:
    for line in request.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "authorization":
            return value.strip()
    return None


@contextmanager
def _standing(link: _Link) -> Iterator[str]:
    """The address of a server that answers as the link says."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while True:
                visitor = listening.accept()[0]
                with suppress(OSError), visitor:
                    visitor.settimeout(5)
                    link.asked.append(visitor.recv(65536))
                    answer = link.answer
                    if answer is None:
                        ended.wait(LATE)
                        answer = _http("200 OK", MARK)
                    visitor.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        ended.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # a close alone would leave accept waiting
        listening.close()
        thread.join()
