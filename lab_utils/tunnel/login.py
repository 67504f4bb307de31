"""The name and the password that the link asks for (HTTP basic authentication, RFC 7617)."""

import base64
import hmac
import secrets
from dataclasses import dataclass, field

from lab_utils.tunnel.errors import TunnelError

MADE, NONE = "made", "none"
"""Instead of a login: a password made here, and no login at all."""

MADE_USER = "guest"
_MADE_BYTES = 12  # 16 characters: impossible to guess, and short enough to type on a phone


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: str = field(repr=False)

    def is_in(self, header: str) -> bool:
        """Whether an Authorization header holds them; takes the same time for any wrong one."""
        scheme, _, text = header.partition(" ")
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            return False
        right = f"{self.user}:{self.password}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, right)


def login_of(auth: str | None) -> Login | None:
    """The login for `auth`: "made", "NAME:PASSWORD", or "none" (or None) for a link without one.

    Raises TunnelError if a part is missing or can't be sent in a header.
    """
    if auth is None or auth.lower() == NONE:
        return None
    if auth == MADE:
        return Login(MADE_USER, secrets.token_urlsafe(_MADE_BYTES))
    user, _, password = auth.partition(":")
    if not user or not password or not auth.isprintable():
        raise TunnelError(
            "A login is NAME:PASSWORD, both not empty, or `none` for a link that is open to all."
        )
    return Login(user, password)
