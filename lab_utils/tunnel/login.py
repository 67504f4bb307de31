"""The name and the password that the link asks for (HTTP basic authentication, RFC 7617)."""

import asyncio
import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field

from lab_utils.tunnel.errors import TunnelError

MADE, NONE = "made", "none"
"""Instead of a login: a password made here, and no login at all."""

MADE_USER = "guest"
_MADE_BYTES = 12  # 16 characters: impossible to guess, and short enough to type on a phone

CHECK_SECONDS = 0.5
MOST_WAIT_SECONDS = 8.0


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: str = field(repr=False)

    def is_in(self, header: str) -> bool:
        """Whether an Authorization header holds them; takes the same time for any wrong one."""
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode())


class LoginQueueFullError(Exception):
    """So many logins wait to be checked that this one is not."""


class LoginQueue:
    """Checks logins, after a wrong one only one every CHECK_SECONDS in all, against guessing.

    The right one waits in the queue with the others. If it were answered at once, a guesser would
    not need to wait for an answer to the wrong ones. A connection that is logged in does not wait.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._next_turn = 0.0

    async def is_right(self, header: str, at_once: bool = False) -> bool:
        """Checks an Authorization header, when its turn comes.

        Args:
            at_once: the connection's last login was right.

        Raises LoginQueueFullError if that would be in more than MOST_WAIT_SECONDS.
        """
        now = asyncio.get_running_loop().time()
        wait = self._next_turn - now
        if wait <= 0 or at_once:
            if self._login.is_in(header):
                return True
            wait = max(wait, 0.0) + CHECK_SECONDS
        if wait > MOST_WAIT_SECONDS:
            raise LoginQueueFullError
        self._next_turn = max(self._next_turn, now) + CHECK_SECONDS
        await asyncio.sleep(wait)
        return self._login.is_in(header)


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
