"""When to ask a service once more: after growing, random waits, within a number of retries and an
overall time. The clock is an argument, so that tests see the waits without waiting."""

import dataclasses
import email.utils
import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_WAIT_SECONDS = 0.25
"""The longest wait before the first retry; it doubles with each one."""

LONGEST_WAIT_SECONDS = 8.0
"""No back-off grows beyond this; a service's own Retry-After may."""

Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Clock:
    """Where time and chance come from."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds that never go backwards."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    """Seconds since 1970, for the dates of Retry-After."""
    uniform: Callable[[float, float], float] = random.uniform


class TransientError(Exception):
    """What failed may work a moment later.

    Attributes:
        busy: whether somebody is there and says to come later.
        retry_after: seconds that the service asks to wait, if it does.
        attempts: how many have failed, set when no more are made.
    """

    def __init__(
        self, happened: str, *, busy: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(happened)
        self.busy, self.retry_after, self.attempts = busy, retry_after, 0


def retry(attempt: Callable[[], Answer], *, retries: int, deadline: float, clock: Clock) -> Answer:
    """Returns the first answer of `attempt`, which is called again when it raises TransientError.

    The wait before retry n is drawn evenly from 0 to 0.25 s * 2**n, at most 8 s, so that clients
    which failed together do not come back together ("full jitter": Marc Brooker, Exponential
    Backoff and Jitter, AWS Architecture Blog, 2015). A Retry-After is waited for first. Where that
    would end after the deadline, waiting is useless, and the error comes at once.

    Args:
        attempt: asks once.
        retries: most calls after the first.
        deadline: time of `clock.monotonic` at which the caller's patience ends.
    """
    number = 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            wait = clock.uniform(0.0, min(FIRST_WAIT_SECONDS * 2**number, LONGEST_WAIT_SECONDS))
            wait += error.retry_after or 0.0
            error.attempts = number = number + 1
            if number > retries or clock.monotonic() + wait >= deadline:
                raise
        clock.sleep(wait)


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Returns the wait that a Retry-After header asks for (RFC 9110, 10.2.3), None if it is none.

    Args:
        value: seconds or an HTTP date.
        now: s since 1970.
    """
    try:
        seconds = float(value or "nan")
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError, OSError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
