"""What a month on AWS costs, from unit prices that are here and nowhere else.

The prices are assumptions: AWS's public lists for us-east-1 as others reported them in 2025, not
looked up there, before tax, and without any free tier. Check them before you rely on a sum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from textwrap import fill
from typing import NamedTuple

HOURS = 730
"""Hours in a month, as AWS counts them."""


@dataclass(frozen=True)
class Assumptions:
    """What a page takes, generous beside what was measured here; and US dollars for one unit."""

    page_seconds: float = 0.6  # of the function, for one page once it is warm
    cold_seconds: float = 5.0  # start of a new copy until it can read; AWS bills it
    warm_minutes: float = 10.0  # an idle copy is kept; AWS promises nothing; 5 to 15 were seen
    image_gb: float = 0.23  # compressed, as ECR keeps it
    images_kept: int = 3  # the repository's rule removes older ones
    log_bytes: int = 1500  # for one request, with Lambda's own lines
    answer_bytes: int = 4000  # with lines and places
    alarms: int = 3  # of the template
    disk_gb: int = 16  # of the front end's machine
    gb_second: float = 0.0000166667  # Lambda on x86: one second of one GB of memory
    request: float = 0.0000002  # Lambda
    image_gb_month: float = 0.10  # ECR: a GB of compressed image kept for a month
    log_gb: float = 0.50  # CloudWatch Logs: a GB taken in
    alarm_month: float = 0.10  # CloudWatch: an alarm kept for a month
    out_gb: float = 0.09  # a GB sent to the internet
    instance_hour: float = 0.0208  # EC2: a t3.small
    disk_gb_month: float = 0.08  # EBS gp3: a GB of disk for a month
    address_hour: float = 0.005  # a public IPv4 address


ASSUMED = Assumptions()


class LambdaCosts(NamedTuple):
    """US dollars a month."""

    compute: float
    requests: float
    images: float
    logs: float
    alarms: float
    transfer: float

    @property
    def total(self) -> float:
        return sum(self)


def cold_share(pages: int, assumed: Assumptions = ASSUMED) -> float:
    """The share of requests that wait for a new copy, if pages come at random times.

    The gap between two of them is exponential, and a copy is gone after `warm_minutes`:
    exp(-pages * warm_minutes / minutes of the month). Several pages at once add to it.
    """
    return math.exp(-pages * assumed.warm_minutes / (HOURS * 60))


def lambda_costs(pages: int, memory: int, assumed: Assumptions = ASSUMED) -> LambdaCosts:
    """The model service for a month in which it reads `pages`, with `memory` MB."""
    seconds = pages * (assumed.page_seconds + cold_share(pages, assumed) * assumed.cold_seconds)
    return LambdaCosts(
        compute=seconds * memory / 1024 * assumed.gb_second,
        requests=pages * assumed.request,
        images=assumed.image_gb * assumed.images_kept * assumed.image_gb_month,
        logs=pages * assumed.log_bytes / 1e9 * assumed.log_gb,
        alarms=assumed.alarms * assumed.alarm_month,
        transfer=pages * assumed.answer_bytes / 1e9 * assumed.out_gb,
    )


def front_end_cost(assumed: Assumptions = ASSUMED) -> float:
    """US dollars a month for the app on its own EC2 machine, however many pages it shows."""
    machine = HOURS * (assumed.instance_hour + assumed.address_hour)
    return machine + assumed.disk_gb * assumed.disk_gb_month


def cost_table(months: Sequence[int], memory: int) -> str:
    """The costs of months with so many pages as lines of text, with the assumptions below them."""
    names = ("pages/month", *LambdaCosts._fields, "total")
    lines = ["".join(name.rjust(12) for name in names)]
    for pages in months:
        costs = lambda_costs(pages, memory)
        cells = (f"{pages:,}", *(f"{part:.4f}" for part in costs), f"{costs.total:.2f}")
        lines.append("".join(cell.rjust(12) for cell in cells))
    notes = [
        f"US dollars a month, {memory} MB. The prices are assumptions (us-east-1 in 2025, from "
        "reports, not looked up at AWS; no free tier, no tax): check them before you rely on this.",
        "compute = pages x (page_seconds + cold share x cold_seconds) x GB x gb_second, "
        "cold share = exp(-pages x warm_minutes / minutes of the month)",
        ", ".join(f"{f.name} {getattr(ASSUMED, f.name):.10g}" for f in fields(ASSUMED)),
        f"The app on its own t3.small costs {front_end_cost():.2f} a month besides.",
    ]
    return "\n".join([*lines, "", *(fill(note, 96) for note in notes)])
