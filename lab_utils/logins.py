"""Protects a login against guessing, however many connections guess at once."""

import asyncio
from collections.abc import Callable

CHECK_SECONDS = 0.5
MOST_WAIT_SECONDS = 8.0
TOO_MANY = "Too many wrong passwords; try again in a few seconds."
RETRY = {"retry-after": str(round(MOST_WAIT_SECONDS))}
"""Sentence and header of the refusal, with status 429, of a login for which the queue is full."""


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
