"""Names and passwords: what a login is, and a queue against guessing one.

However many connections guess at once, all wrong logins wait in one line.
"""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from text_recognizer.errors import RecognizerError

CHECK_SECONDS = 0.5
MOST_WAIT_SECONDS = 8.0
TOO_MANY = "Too many wrong passwords; try again in a few seconds."
RETRY = {"retry-after": str(round(MOST_WAIT_SECONDS))}
"""Sentence and header of the refusal, with status 429, of a login for which the queue is full."""

MADE, NONE = "made", "none"
"""Instead of NAME:PASSWORD: a random password, and no login at all."""

MADE_USER = "guest"
_MADE_BYTES = 12  # 16 characters: impossible to guess, and short enough to type on a phone


class LoginError(RecognizerError):
    """What should be a login isn't one."""


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    user: str
    password: str = field(repr=False)

    def is_right(self, given: bytes) -> bool:
        """Whether NAME:PASSWORD in UTF-8 is right; takes the same time for any wrong one."""
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode())

    def is_in(self, header: str) -> bool:
        """Whether an Authorization header holds it (HTTP basic authentication, RFC 7617)."""
        scheme, _, text = header.partition(" ")
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            return False
        return scheme.lower() == "basic" and self.is_right(given)


def parse_login(text: str) -> Login:
    """The login in NAME:PASSWORD.

    Raises LoginError if a part is missing or can't be sent in a header.
    """
    user, _, password = text.partition(":")
    if not user.strip() or not password or not text.isprintable():
        raise LoginError("A login is NAME:PASSWORD, neither of them empty.")
    return Login(user.strip(), password)


def login_of(auth: str | None) -> Login | None:
    """The login of a link: NAME:PASSWORD, "made", or "none" (or None); raises LoginError."""
    if auth is None or auth.lower() == NONE:
        return None
    if auth == MADE:
        return Login(MADE_USER, secrets.token_urlsafe(_MADE_BYTES))
    return parse_login(auth)


class LoginQueueFullError(Exception):
    """So many logins wait to be checked that this one is not."""


class LoginQueue:
    """Checks logins; after a wrong one, only one every CHECK_SECONDS in all.

    The right one waits in the queue with the others. If it were answered at once, a guesser would
    not need to wait for an answer to the wrong ones.
    """

    def __init__(self) -> None:
        self._next_turn = 0.0

    async def check(self, is_right: Callable[[], bool], at_once: bool = False) -> bool:
        """Returns what `is_right` says, when its turn comes.

        Args:
            is_right: compares a login with the right one.
            at_once: do not wait if it is right; for somebody who is logged in already.

        Raises LoginQueueFullError if its turn would come in more than MOST_WAIT_SECONDS.
        """
        now = asyncio.get_running_loop().time()
        wait = self._next_turn - now
        if wait <= 0 or at_once:
            if is_right():
                return True
            wait = max(wait, 0.0) + CHECK_SECONDS
        if wait > MOST_WAIT_SECONDS:
            raise LoginQueueFullError
        self._next_turn = max(self._next_turn, now) + CHECK_SECONDS
        await asyncio.sleep(wait)
        return is_right()
