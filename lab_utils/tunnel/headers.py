"""What the authentication proxy changes in the headers that it passes on.

The app takes requests for its own address only, because a page of another site can make a name of
its own lead to this machine (see `lab_utils.net`). Visitors ask for the public name. So the proxy,
which knows that name and refuses all others, replaces it with the app's own address, in Host and in
the Origin of the link's own pages. Another site's Origin becomes `null`, which nobody has: what the
app refuses without a tunnel, it refuses through one.
"""

from collections.abc import Iterable

from lab_utils.net import host_name

Headers = list[tuple[bytes, bytes]]

# They concern one connection (RFC 9110, 7.6.1).
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
_HOP |= {b"transfer-encoding"}
# The length is that of the body which has arrived.
_SET_HERE = {b"host", b"expect", b"content-length", b"forwarded", b"x-forwarded-host"}
_SET_HERE |= {b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix"}


class Names:
    """The link's address and the app's, and how one becomes the other.

    Args:
        public_url: the link.
        app_url: the app's address on this machine, without a slash at its end.
    """

    def __init__(self, public_url: str, app_url: str) -> None:
        self._public_url, self._app_url = public_url.rstrip("/").encode(), app_url.encode()
        self._scheme, _, self._public = self._public_url.partition(b"://")

    def is_public(self, host: str) -> bool:
        """Whether a Host header holds the link's name."""
        return host_name(host) == host_name(self._public.decode())

    def towards_app(self, headers: Iterable[tuple[bytes, bytes]], with_login: bool) -> Headers:
        """A request's headers as the app gets them.

        Args:
            with_login: the proxy asked for the login, which is not for the app to see.
        """
        dropped = _HOP | _SET_HERE | ({b"authorization"} if with_login else set())
        kept = [(name, value) for name, value in headers if name not in dropped]
        return [
            (b"host", self._app_url.removeprefix(b"http://")),
            (b"x-forwarded-host", self._public),
            (b"x-forwarded-proto", self._scheme),
            *((name, self._origin(value) if name == b"origin" else value) for name, value in kept),
        ]

    def towards_visitor(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        """An answer's headers as the visitor gets them."""
        return [
            (name, self._public_place(value) if name.lower() == b"location" else value)
            for name, value in headers
            if name.lower() not in _HOP
        ]

    def _origin(self, origin: bytes) -> bytes:
        return self._app_url if origin == self._public_url else b"null"

    def _public_place(self, location: bytes) -> bytes:
        place = location.replace(b"https://", b"http://", 1)
        if place == self._app_url or place.startswith(self._app_url + b"/"):
            return self._public_url + place.removeprefix(self._app_url)
        return location
