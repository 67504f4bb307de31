"""Downloads an image from a URL that a stranger may have typed: only http(s), only from public
addresses (checked again after each redirect), and never longer or larger than the limits."""

import http.client
import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from text_recognizer.errors import AddressError, DownloadError
from text_recognizer.limits import FETCH_SECONDS, MAX_DOWNLOAD_BYTES, MAX_REDIRECTS

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
_PIECE_BYTES = 65536

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What `is_global` says depends on Python's version; these are never a stranger's web server:
# protocol assignments (some clouds' metadata among them), Azure's host agent, and documentation.
_NEVER_PUBLIC = [
    ipaddress.ip_network(block)
    for block in ("192.0.0.0/24", "168.63.129.16/32", "2001::/23", "3fff::/20")
]


def fetch(
    url: str,
    *,
    allow_private_addresses: bool = False,
    max_bytes: int = MAX_DOWNLOAD_BYTES,
    timeout: float = FETCH_SECONDS,
) -> bytes:
    """Returns the body found at an http(s) URL.

    The host is resolved once a hop and the connection goes to the very address that was checked,
    so a name that changes its address in between (DNS rebinding) gains nothing. Proxies named in
    the environment are not used: they would resolve the name themselves.

    Args:
        url: absolute http or https URL without user name and password.
        allow_private_addresses: also connect to loopback, private and link-local addresses.
        max_bytes: most bytes that the body may have.
        timeout: seconds for everything: look-ups, connections, redirects and body.

    Raises:
        AddressError: the URL, or one that it redirects to, is not allowed.
        DownloadError: no answer in time, a status other than 200, or a body that is too large
            or breaks off.
    """
    deadline = time.monotonic() + timeout
    host = "the server"
    try:
        for _ in range(MAX_REDIRECTS + 1):
            target = _parse(url)
            host = target.host
            answer = _get(target, allow_private_addresses, max_bytes, deadline)
            if isinstance(answer, bytes):
                return answer
            url = _follow(url, answer.location)
    except TimeoutError:
        raise DownloadError(
            f"{host} did not deliver the image within {timeout:g} s; "
            "try again, or download it and give the file."
        ) from None
    except ssl.SSLError:
        raise DownloadError(
            f"No secure connection to {host} could be made; "
            "check the address, or download the image and give the file."
        ) from None
    except (OSError, http.client.HTTPException):
        raise DownloadError(
            f"{host} could not be reached or broke off; check the address and try again."
        ) from None
    raise DownloadError(
        f"The address redirects more than {MAX_REDIRECTS} times; give the image's final address."
    )


def is_public(address: str) -> bool:
    """Whether a numeric IPv4 or IPv6 address belongs to the public internet.

    IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4) count as that address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(str(carried))
        if ip not in _GLOBAL_UNICAST:
            return False
    if any(ip in block for block in _NEVER_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


class _Redirect(NamedTuple):
    location: str


def _parse(url: str) -> _Target:
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme, parts.hostname, parts.port
        if host and not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:
        scheme, host, port = "", None, None
    if scheme and scheme not in _DEFAULT_PORTS:
        raise AddressError(
            "Only http:// and https:// addresses are fetched; "
            "for another kind, download the image and give the file."
        )
    if not scheme or not host or port == 0 or re.search(r"[^0-9A-Za-z.:_%-]", host):
        raise AddressError("The address is not complete; give one like https://host/page.png.")
    if parts.username is not None or parts.password is not None:
        raise AddressError(
            "The address holds a user name or password; download the image and give the file."
        )
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return _Target(scheme, host, port or _DEFAULT_PORTS[scheme], path)


def _follow(url: str, location: str) -> str:
    try:
        # http.client hands headers over as Latin-1; addresses are written in UTF-8.
        return urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    except ValueError:
        raise DownloadError(
            "The address redirects to a damaged one; give the image's final address."
        ) from None


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _resolve(target: _Target, deadline: float) -> list[tuple]:
    """(family, socket address) pairs of a host, in the system's order of preference."""
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answers.put([(family, address) for family, *_, address in found])
        except (OSError, UnicodeError):
            answers.put([])

    # The system's look-up knows no time limit, so it runs where it can be left behind.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answers.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if not found:
        raise DownloadError(
            f"The host {target.host} was not found; check the address and the network connection."
        )
    return found


def _connect(target: _Target, addresses: list[tuple], deadline: float) -> socket.socket:
    for position, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A dead first address must leave time for the ones after it.
            sock.settimeout(_left(deadline) / (len(addresses) - position))
            sock.connect(address)
            if target.scheme == "https":
                sock.settimeout(_left(deadline))
                context = ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=target.host)
            return sock
        except OSError:
            sock.close()
            if position == len(addresses) - 1:
                raise
    raise OSError


class _DeadlineStream(io.RawIOBase):
    """Reads a socket so that the deadline holds over all reads together, not for each."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


class _DeadlineSocket:
    """The part of a socket that http.client uses, under one deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, *_args, **_kwargs) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineStream(self._sock, self._deadline))

    def close(self) -> None:
        """The owner of the socket closes it."""


def _get(
    target: _Target, allow_private_addresses: bool, max_bytes: int, deadline: float
) -> bytes | _Redirect:
    addresses = _resolve(target, deadline)
    if not allow_private_addresses and not all(is_public(where[0]) for _, where in addresses):
        raise AddressError(
            f"{target.host} is an address inside a private network, which is not fetched; "
            "download the image and give the file, or allow private addresses."
        )
    with _connect(target, addresses, deadline) as sock:
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = _DeadlineSocket(sock, deadline)
        connection.request(
            "GET",
            target.path,
            headers={
                "Host": target.host_header,
                "User-Agent": "text-recognizer",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
        )
        with connection.getresponse() as response:
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                return _Redirect(location)
            return _body(response, target.host, max_bytes)


def _body(response: http.client.HTTPResponse, host: str, max_bytes: int) -> bytes:
    if response.status != 200:
        raise DownloadError(
            f"{host} answered with status {response.status} and no image; "
            "open the address in a browser to check it."
        )
    if response.getheader("Content-Encoding", "identity").lower() != "identity":
        raise DownloadError(
            f"{host} sends the image compressed once more; download it and give the file."
        )
    body = bytearray()
    if (response.length or 0) <= max_bytes:
        while len(body) <= max_bytes:
            piece = response.read(_PIECE_BYTES)
            if not piece:
                if response.length:
                    raise http.client.IncompleteRead(bytes(0))
                return bytes(body)
            body += piece
    raise DownloadError(
        f"The image at {host} has more than {max_bytes / 1e6:g} MB, the most that is fetched; "
        "make it smaller, or download it and give the file."
    )
