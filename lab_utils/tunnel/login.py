"""The name and the password that the link asks for (HTTP basic authentication, RFC 7617)."""

import base64
import binascii
import secrets
from dataclasses import dataclass, field

from lab_utils.tunnel.errors import TunnelError

MADE = "made"
"""Stands for a password that is made here."""

MADE_USER = "guest"
_MADE_BYTES = 12  # 16 characters: beyond guessing, and still to be typed on a phone


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: str = field(repr=False)

    def is_in(self, header: bytes | None) -> bool:
        """Whether an Authorization header holds them; takes the same time for any wrong one."""
        scheme, _, text = (header or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            return False
        return secrets.compare_digest(given, f"{self.user}:{self.password}".encode())


def login_of(auth: str | None) -> Login | None:
    """The login that `auth` asks for: "made", "USER:PASS", or None for a link without one.

    Raises TunnelError where a part is missing or cannot be sent in a header.
    """
    if auth is None:
        return None
    if auth == MADE:
        return Login(MADE_USER, secrets.token_urlsafe(_MADE_BYTES))
    user, _, password = auth.partition(":")
    if not user or not password or not auth.isprintable():
        raise TunnelError(
            "A login is USER:PASS, both of them not empty, or `none` for a link that anybody uses."
        )
    return Login(user, password)
