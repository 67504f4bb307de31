"""What the gate changes in the headers that pass it.

The app takes requests under its own address alone, because a page of another site could make a name
of its own lead to this machine (see `lab_utils.net`). Visitors ask under the public name. So
the gate, which knows that name and refuses any other one, puts the app's own address in its place,
in Host and in the Origin of the link's own pages. Another site's Origin becomes `null`, which is
nobody's: what the app refuses without a tunnel, it refuses through one.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from lab_utils.net import host_name

Headers = list[tuple[bytes, bytes]]

# They concern one connection (RFC 9110, 7.6.1); the framing is h11's.
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
_SET_HERE = {b"host", b"expect", b"forwarded", b"x-forwarded-host", b"x-forwarded-proto"}
_SET_HERE |= {b"x-forwarded-port", b"x-forwarded-prefix"}


class Names:
    """The link's address and the app's, and how one becomes the other."""

    def __init__(self, public_url: str, app_host: str) -> None:
        parts = urlsplit(public_url)
        self._public = public_url.rstrip("/").encode()
        self._public_name = host_name(parts.netloc)
        self._public_netloc, self._scheme = parts.netloc.encode(), parts.scheme.encode()
        self._app = app_host.encode()

    def is_public(self, host: bytes) -> bool:
        """Whether a Host header holds the link's name."""
        return host_name(host.decode("latin-1")) == self._public_name

    def towards_app(self, headers: Iterable[tuple[bytes, bytes]], with_login: bool) -> Headers:
        """A request's headers as the app gets them.

        Args:
            with_login: the gate has asked for a login, which is none of the app's business.
        """
        headers = list(headers)
        upgrade = get(headers, b"upgrade") if _asks_for_upgrade(headers) else None
        dropped = _HOP | _SET_HERE | ({b"authorization"} if with_login else set())
        if get(headers, b"transfer-encoding") is not None:
            # Two lengths may be read as two requests behind here (RFC 9112, 6.3).
            dropped |= {b"content-length"}
        kept = [
            (name, self._app_origin(value) if name == b"origin" else value)
            for name, value in headers
            if name not in dropped
        ]
        return [
            (b"host", self._app),
            *kept,
            (b"x-forwarded-host", self._public_netloc),
            (b"x-forwarded-proto", self._scheme),
            *(
                [(b"connection", b"upgrade"), (b"upgrade", upgrade)]
                if upgrade
                else [(b"connection", b"close")]
            ),
        ]

    def towards_visitor(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """An answer's headers as the visitor gets them."""
        return [
            (name, self._public_place(value) if name == b"location" else value)
            for name, value in headers
            if name not in _HOP
        ]

    def _app_origin(self, origin: bytes) -> bytes:
        return b"http://" + self._app if origin == self._public else b"null"

    def _public_place(self, location: bytes) -> bytes:
        for scheme in (b"http://", b"https://"):
            own = scheme + self._app
            if location == own or location.startswith(own + b"/"):
                return self._public + location.removeprefix(own)
        return location


def get(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The first header of a name in lower case."""
    return next((value for name, value in headers if name == wanted), None)


def _asks_for_upgrade(headers: Headers) -> bool:
    return b"upgrade" in (get(headers, b"connection") or b"").lower()
