"""A simulated queue: when requests come, wait, and are answered, without any server. An hour of
load takes a moment, is the same in each run, and any cost of a batch can be tried.
"""

import random
from collections.abc import Callable, Sequence


def poisson_arrivals(rate: float, count: int, seed: int = 0) -> list[float]:
    """The moments (s) at which `count` requests come: on average `rate` a second, at random.

    Gaps between them are exponential, as when many people send independently.
    """
    draw, now = random.Random(seed), 0.0
    arrivals = []
    for _ in range(count):
        now += draw.expovariate(rate)
        arrivals.append(now)
    return arrivals


def simulate_queue(
    arrivals: Sequence[float],
    seconds_of: Callable[[int], float],
    max_batch: int = 1,
    max_wait: float = 0.0,
    servers: int = 1,
) -> list[float]:
    """The moments (s) at which requests are answered, first come, first served.

    A free server takes up to `max_batch` waiting requests at once: as soon as there are so many,
    or when the oldest has waited `max_wait` since it came. While no server is free, a batch goes
    on filling.

    Args:
        arrivals: moments in s, ascending.
        seconds_of: gets the size of a batch and returns the seconds that it takes; called once
            a batch, in order.
        max_batch: requests in a batch, at most.
        max_wait: s.
        servers: how many batches are worked on at a time.
    """
    free = [0.0] * servers
    answered: list[float] = []
    while len(answered) < len(arrivals):
        first = len(answered)
        batch = arrivals[first : first + max_batch]
        full = batch[-1] if len(batch) == max_batch else float("inf")
        server = min(range(servers), key=free.__getitem__)
        start = max(free[server], min(full, batch[0] + max_wait))
        size = sum(arrival <= start for arrival in batch)
        free[server] = start + seconds_of(size)
        answered += [free[server]] * size
    return answered
