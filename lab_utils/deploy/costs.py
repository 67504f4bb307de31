"""What a month on AWS costs, from unit prices that stand here and nowhere else.

The prices are assumptions: AWS's public lists for us-east-1 as others reported them in 2025, not
looked up there, before tax, and without any free tier. Check them before you rely on a sum.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from textwrap import fill

PRICES_AS_OF = "us-east-1 in 2025, from memory and reports, not looked up at AWS"

HOURS = 730
"""Hours in a month, as AWS counts them."""


@dataclass(frozen=True)
class UnitPrices:
    """US dollars for one unit."""

    gb_second: float = 0.0000166667
    """Lambda on x86: one second of one GB of memory."""
    request: float = 0.0000002
    """Lambda: one request."""
    image_gb_month: float = 0.10
    """ECR: a GB of compressed image kept for a month."""
    log_gb: float = 0.50
    """CloudWatch Logs: a GB taken in."""
    alarm_month: float = 0.10
    """CloudWatch: an alarm kept for a month."""
    out_gb: float = 0.09
    """A GB sent to the internet."""
    instance_hour: float = 0.0208
    """EC2: an hour of a t3.small."""
    disk_gb_month: float = 0.08
    """EBS gp3: a GB of disk for a month."""
    address_hour: float = 0.005
    """An hour of a public IPv4 address."""


@dataclass(frozen=True)
class Usage:
    """What a page takes; the times are estimates, generous beside what was measured here."""

    page_seconds: float = 0.6
    """Of the function, for one page once it is warm."""
    cold_seconds: float = 5.0
    """Start of a new copy of the function until it can read; AWS bills it."""
    warm_minutes: float = 10.0
    """How long an idle copy is kept. AWS promises nothing; 5 to 15 were seen."""
    image_gb: float = 0.23
    """Compressed image, as ECR keeps it."""
    images_kept: int = 3
    """Versions of the image; the repository's rule removes older ones."""
    log_bytes: int = 1500
    """Of the log for one request, with Lambda's own lines."""
    answer_bytes: int = 4000
    """Of the answer with lines and places."""
    disk_gb: int = 16
    """Of the front end's machine."""


@dataclass(frozen=True)
class LambdaCosts:
    """US dollars a month."""

    pages: int
    compute: float
    requests: float
    images: float
    logs: float
    alarms: float
    transfer: float

    @property
    def total(self) -> float:
        return sum(getattr(self, part.name) for part in fields(self) if part.name != "pages")


PRICES = UnitPrices()
USAGE = Usage()


def cold_share(pages: int, usage: Usage = USAGE) -> float:
    """The share of requests that wait for a new copy, where pages come at random times.

    The gap between two of them is exponential, and a copy is gone after `usage.warm_minutes`:
    exp(-pages * warm_minutes / minutes of the month). Several pages at once add to it.
    """
    return math.exp(-pages * usage.warm_minutes / (HOURS * 60))


def lambda_costs(
    pages: int, memory: int, alarms: int = 3, usage: Usage = USAGE, prices: UnitPrices = PRICES
) -> LambdaCosts:
    """The model service for a month in which it reads `pages`.

    Args:
        memory: MB of the function.
        alarms: how many are kept.
    """
    seconds = pages * (usage.page_seconds + cold_share(pages, usage) * usage.cold_seconds)
    return LambdaCosts(
        pages=pages,
        compute=seconds * memory / 1024 * prices.gb_second,
        requests=pages * prices.request,
        images=usage.image_gb * usage.images_kept * prices.image_gb_month,
        logs=pages * usage.log_bytes / 1e9 * prices.log_gb,
        alarms=alarms * prices.alarm_month,
        transfer=pages * usage.answer_bytes / 1e9 * prices.out_gb,
    )


def front_end_cost(usage: Usage = USAGE, prices: UnitPrices = PRICES) -> float:
    """US dollars a month for the app on its own EC2 machine, however many pages it shows."""
    return (
        HOURS * (prices.instance_hour + prices.address_hour) + usage.disk_gb * prices.disk_gb_month
    )


def cost_table(
    months: Sequence[int], memory: int, usage: Usage = USAGE, prices: UnitPrices = PRICES
) -> str:
    """The costs of months with so many pages as lines of text, with the assumptions below them."""
    header = ["pages/month", "compute", "requests", "images", "logs", "alarms", "transfer", "total"]
    rows = [_row(lambda_costs(pages, memory, usage=usage, prices=prices)) for pages in months]
    lines = _columns([header, *rows])
    notes = [
        f"US dollars a month, {memory} MB. The prices are assumptions ({PRICES_AS_OF}; no free "
        "tier, no tax): check them before you rely on this.",
        "compute = pages x (page_seconds + cold share x cold_seconds) x GB x gb_second, "
        "cold share = exp(-pages x warm_minutes / minutes of the month)",
        _assumptions(usage),
        _assumptions(prices),
        f"The app on its own t3.small costs {front_end_cost(usage, prices):.2f} a month besides.",
    ]
    return "\n".join([*lines, "", *(fill(note, 92) for note in notes)])


def _row(costs: LambdaCosts) -> list[str]:
    parts = [costs.compute, costs.requests, costs.images, costs.logs, costs.alarms, costs.transfer]
    return [f"{costs.pages:,}", *(f"{part:.4f}" for part in parts), f"{costs.total:.2f}"]


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]


def _assumptions(values: Usage | UnitPrices) -> str:
    return ", ".join(f"{f.name} {getattr(values, f.name):.10g}" for f in fields(values))
