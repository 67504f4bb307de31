"""Checks of notebook 04: an honest clock, a busy device, the wait in a gap, a batch, a max wait.

No device or model runs, and no clock except for the trace: time is a number that stand-ins advance,
so a check takes moments.
"""

import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from lab_utils.lessons import checking
from lab_utils.lessons.batch_size_profiling.figures import play
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_raises,
    expect_result,
    expect_type,
    fail,
)
from lab_utils.service.queueing import poisson_arrivals

go_on = partial(checking.go_on, "batch_size_profiling")

LAUNCH = 0.001
"""s until the stand-in for a device takes its work and lets the caller go on."""


class _Device:
    """Works off what it is given while the caller goes on, on its own clock (s)."""

    def __init__(self, warm_up: list[float], timed: list[float], busy: float = 0.0) -> None:
        self.seconds, self.now, self.free = warm_up + timed, 50.0, 50.0 + busy
        self.warm_up, self.repeats = len(warm_up), len(timed)
        self.calls = self.looks = 0

    def work(self) -> None:
        if self.calls >= len(self.seconds):
            fail(
                f"median_seconds called work more than {len(self.seconds)} times: "
                "warm_up times without the clock, then repeats times with it."
            )
        self.now += LAUNCH
        self.free = max(self.free, self.now) + self.seconds[self.calls]
        self.calls += 1

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)

    def clock(self) -> float:
        self.looks += 1
        return self.now


@check
def median_seconds(function: Answer) -> str:
    """Waits for the device at both ends, leaves the warm-up out, and gives the median."""
    timed = [0.30, 0.20, 0.90, 0.25, 0.15]
    for what, device, wanted in (
        ("work that takes 0.3 s each time, without warm-up", _Device([], [0.3] * 5), 0.3),
        ("two slow first calls, then 0.30, 0.20, 0.90, 0.25, 0.15 s", _Device([9, 4], timed), 0.25),
        ("a device still busy for 7 s with older work", _Device([2.0], [0.3] * 5, busy=7.0), 0.3),
        ("one repeat after one warm-up call of 2 s", _Device([2.0], [0.3], busy=7.0), 0.3),
        ("a device still busy for 7 s, one repeat, no warm-up", _Device([], [0.3], busy=7.0), 0.3),
        ("repeats of 0.4 and 0.2 s (the median is their mean)", _Device([], [0.4, 0.2]), 0.3),
    ):
        warm_up, repeats = device.warm_up, device.repeats
        options = {"repeats": repeats, "warm_up": warm_up, "clock": device.clock}
        result = attempt(function, device.work, device.synchronize, **options)
        result = expect_type(result, (float, int), "median_seconds")
        expect(
            device.calls == warm_up + repeats,
            f"with {warm_up=} and {repeats=}, work was called {device.calls} times, not "
            f"{warm_up + repeats}.",
        )
        expect(device.looks > 0, "median_seconds never called `clock`: take the time from it.")
        expect(
            math.isclose(result, wanted, abs_tol=1.5 * LAUNCH),
            f"with {what}, median_seconds returned {result:.3f} s, not {wanted:.3f} s: for each "
            "repeat, start the clock when the device is idle, and stop it when the device is done. "
            "The warm-up does not "
            "count; of the repeats take the median, not the mean or the fastest.",
        )
    device = _Device([9.0, 4.0], timed)
    attempt(function, device.work, device.synchronize, clock=device.clock)
    expect(
        device.calls == 7,
        f"without repeats and warm_up given, work was called {device.calls} times, not 2 + 5.",
    )
    return "it waits for the device, leaves the warm-up out, and takes the median."


@cache
def _operators() -> dict[str, Callable]:
    """Operators of PyTorch that wait: one long call against many short ones, which take longer
    together, and one that calls the short one and does nothing itself."""

    def wait(seconds: float, x: torch.Tensor) -> torch.Tensor:
        time.sleep(seconds)
        return x.clone()

    bodies = {
        "one_long_wait": partial(wait, 0.03),
        "short_wait": partial(wait, 0.008),
        "calls_short_wait": lambda x: torch.ops.lab_lesson.short_wait(x),
    }
    for name, body in bodies.items():
        torch.library.define(f"lab_lesson::{name}", "(Tensor x) -> Tensor")
        torch.library.impl(f"lab_lesson::{name}", "CPU", body)
    return {name: getattr(torch.ops.lab_lesson, name) for name in bodies}


@check
def slowest_operator(function: Answer) -> str:
    """The trace is in the file, and the answer fits what that trace says."""
    function.uses_a_tool()
    operators, calls = _operators(), 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        x = torch.ones(4)  # the first profile of a process takes long

    def work() -> None:
        nonlocal calls
        calls += 1
        operators["one_long_wait"](x)
        with torch.profiler.record_function("a mark around it, which is no operator"):
            for _ in range(7):
                operators["calls_short_wait"](x)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        name = expect_type(attempt(function, work, path), str, "slowest_operator")
        expect(calls == 1, f"slowest_operator called work {calls} times; call it once.")
        expect(path.is_file(), "there is no file at `path`: export the trace there.")
        try:
            events = json.loads(path.read_text())["traceEvents"]
        except (ValueError, KeyError, TypeError):
            fail("the file at `path` isn't a trace: write it with export_chrome_trace.")
    found = [event for event in events if event.get("cat") == "cpu_op"]
    seconds, count = Counter(), Counter(event["name"] for event in found)
    for event in found:
        seconds[event["name"]] += event["dur"] / 1e6
    expect(
        count["lab_lesson::calls_short_wait"] == 7,
        "the trace in the file does not have all operators that work calls: call work inside the "
        "`with` block, and export after it.",
    )
    slowest = max(seconds, key=seconds.__getitem__)
    if name != slowest:
        of_it = f"; {name!r} took {seconds[name]:.3f} s" if name in seconds else ""
        fail(
            f"in the trace, one operator took {seconds[slowest]:.3f} s in its {count[slowest]} "
            f"calls together, but slowest_operator returned {name!r}{of_it}: add up the durations "
            'of all events of the category "cpu_op" by name; they include what was called in turn.'
        )
    return "work ran once under the profiler, and the trace in the file says so."


Interval = tuple[float, float]


@check
def gpu_utilization(function: Answer) -> str:
    """The union of kernels, clipped to the window, as a share of it."""

    def returns(
        kernels: list[Interval], what: str, why: str, start: int = 0, end: int = 100
    ) -> None:
        # Each quarter of a unit in which one runs.
        moments = {n for begin, stop in kernels for n in range(round(4 * begin), round(4 * stop))}
        wanted = len(moments & set(range(4 * start, 4 * end))) / (4 * (end - start))
        expect_result(function, (kernels, start, end), wanted, why, f"with {what}")

    once, clip = "time in which two run counts once", "clip each kernel to the window first"
    latest = "the short one ends early, the long one still runs: remember the latest end so far"
    for kernels, what, why in (
        ([(20, 45)], "one kernel in a quarter of the window", "it is a share between 0 and 1"),
        ([], "no kernel at all", "nothing ran, so it is 0"),
        ([(0, 100)], "a kernel that fills the window", "all of it is 1"),
        ([(10, 40), (20, 50)], "two kernels at the same time, on two streams", once),
        ([(10, 60), (20, 30), (50, 70)], "a short kernel within a long one", latest),
        ([(70, 80), (10, 30), (20, 40)], "unsorted kernels", "a trace need not be sorted"),
        ([(10, 20), (20, 30)], "kernels that touch", "where one ends another may begin"),
        ([(-50, 20), (90, 130)], "kernels over both ends", clip),
        ([(-30, -10), (40, 50), (120, 150)], "kernels outside the window", clip),
        ([(10.25, 20.5), (20.25, 30.75)], "times that are not whole", "they need not be whole"),
    ):
        returns(kernels, what, why)
    length = "the share is of the window's length, not of its end"
    returns([(510, 530)], "a window from 500 to 600", length, 500, 600)
    choose = random.Random(4)
    for round_ in range(20):
        starts = [choose.randrange(-100, 1100) for _ in range(choose.randrange(1, 40))]
        kernels = [(float(start), float(start + choose.randrange(1, 120))) for start in starts]
        returns(kernels, f"random kernels (round {round_ + 1})", f"{once}; {clip}", 0, 1000)
    return "overlaps count once, and only what lies in the window."


Operator = tuple[str, float, float]


@check
def waiting_operator(function: Answer) -> str:
    """The operator with the most time in the longest gap of the device."""

    def returns(
        wanted: str, what: str, why: str, kernels: list[Interval], *operators: Operator
    ) -> None:
        expect_result(function, (kernels, list(operators)), wanted, why, f"with {what}")

    kernels = [(100.0, 120.0), (125.0, 140.0), (240.0, 260.0), (262.0, 280.0)]
    inside = [("aten::nonzero", 140.0, 165.0), ("aten::argmin", 165.0, 230.0)]
    around = [("aten::conv2d", 90.0, 100.0), ("aten::relu", 230.0, 240.0)]
    why = "look for the operator that runs longest in the longest gap between two kernels"
    returns("aten::argmin", "a gap of 100 µs, 65 in aten::argmin", why, kernels, *around, *inside)
    what = "unsorted kernels"
    backwards = [(360.0, 400.0), (100.0, 300.0), (0.0, 10.0)]
    under = [("aten::mm", 100.0, 300.0), ("aten::item", 10.0, 90.0)]
    returns("aten::item", what, "sort the kernels before you look for gaps", backwards, *under)
    pieces = [("aten::argmin", 140.0 + 4 * n, 144.0 + 4 * n) for n in range(12)]
    what = "a gap with aten::sort once for 30 µs and aten::argmin twelve times for 4"
    sort = ("aten::sort", 190.0, 220.0)
    returns("aten::argmin", what, "add up all calls of an operator", kernels, *pieces, sort)
    part = "count the part of a call that lies in the gap, wherever the call begins or ends"
    over = [("aten::copy_", 20.0, 165.0), ("aten::sort", 165.0, 210.0), ("aten::mm", 210.0, 500.0)]
    returns("aten::sort", "25, 45 and 30 µs of three calls in the gap", part, kernels, *over)
    over = [("aten::copy_", 100.0, 195.0), ("aten::sort", 195.0, 215.0), ("aten::mm", 215.0, 500)]
    returns("aten::copy_", "55, 20 and 25 µs of three calls in the gap", part, kernels, *over)
    over = [("aten::copy_", 0.0, 165.0), ("aten::sort", 165.0, 185.0), ("aten::mm", 185.0, 250.0)]
    returns("aten::mm", "25, 20 and 55 µs of three calls in the gap", part, kernels, *over)
    beside = [(0.0, 200.0), (20.0, 30.0), (260.0, 300.0), (210.0, 220.0)]
    long = [("aten::mm", 30.0, 190.0), ("aten::sort", 200.0, 209.0), ("aten::item", 221.0, 259.0)]
    why = "after the short one ends the long one still runs; remember the latest end so far"
    returns("aten::item", "a short kernel that runs beside a long one", why, beside, *long)
    few = [(500.0, 510.0), (540.0, 550.0), (552.0, 560.0)]
    outer = [("aten::to", 0.0, 480.0), ("aten::item", 511.0, 539.0), ("aten::cat", 560.0, 990.0)]
    what = "long operators before the first kernel and after the last one"
    returns("aten::item", what, "only a stretch between two kernels is a gap", few, *outer)
    several = [(0.0, 10.0), (60.0, 70.0), (90.0, 100.0), (120.0, 130.0), (150.0, 160.0)]
    copies = [("aten::copy_", start, start + 20.0) for start in (70.0, 100.0, 130.0)]
    copies += [("aten::nonzero", 12.0, 45.0), ("aten::copy_", 45.0, 60.0)]
    why = "only the longest gap counts, not all gaps together"
    returns("aten::nonzero", "a gap of 50 µs and three of 20", why, several, *copies)
    late = [("aten::relu", 240.0 + n, 241.0 + n) for n in range(200)]
    late += [("aten::argmin", 0.0, 5.0)]
    why = "a call that has no part in the gap counts 0"
    returns("aten::argmin", "200 calls of aten::relu after the gap", why, kernels, *inside, *late)
    return "it names what the device waits for in its longest gap."


Curve = dict[int, tuple[float, float]]


@check
def best_batch_size(function: Answer) -> str:
    """The smallest size that comes close to the most pages a second, among those in time."""

    def returns(wanted: int, why: str, curve: Curve, target: float, *tolerance: float) -> None:
        said = f"with a target of {target:g} s" + "".join(f", tolerance={t:g}" for t in tolerance)
        backwards = dict(sorted(curve.items(), reverse=True))
        for order, table in (("", curve), (", sizes from high to low", backwards)):
            expect_result(function, (table, target, *tolerance), wanted, why, f"{said}{order}")

    curve: Curve = {1: (0.10, 0.12), 2: (0.11, 0.13), 4: (0.14, 0.17), 8: (0.20, 0.25)}
    curve |= {16: (0.385, 0.42), 32: (0.80, 0.90)}
    returns(16, "16 pages in 0.385 s are the most pages a second", curve, 10.0, 0.0)
    returns(8, "8 pages reach 96 % of what 16 do, and wait half as long", curve, 10.0)
    why = "8 and more miss the target, and of the rest, 4 give the most pages a second"
    returns(4, why, curve, 0.19)
    why = "a batch of 8 takes 0.20 s at p50 and 0.25 s at p95, and p95 is what was promised"
    returns(4, why, curve, 0.22)
    returns(8, "a p95 of exactly the target meets it", curve, 0.25)
    why = "the tolerance is of the best size that meets the target, not of the best of all"
    returns(4, why, curve, 0.17)
    returns(4, "4 pages reach 69 % of the most", curve, 10.0, 0.35)
    linear: Curve = {size: (0.2 * size * 0.995**size, 0.22 * size) for size in (1, 2, 4, 8)}
    returns(1, "a batch of 8 gains less than 5 %, so one page is enough", linear, 10.0)
    two: Curve = {1: (0.10, 0.10), 2: (0.186, 0.20)}
    returns(2, "one page reaches 93 % of what 2 do, which is less", two, 10.0)
    expect_raises(function, ValueError, curve, 0.05, when="if no size meets 0.05 s")
    return "it meets the target, and waits for no more pages than pay off."


WAITS = [0.0, 0.01, 0.02, 0.03, 0.05, 0.08]


def _seconds_of(size: int) -> float:
    """s of a batch on the stand-in: a fixed part, and one for each page."""
    return 0.010 + 0.001 * size


@check
def longest_wait(function: Answer) -> str:
    """The longest wait that keeps the promise at every rate: the quiet ones, and the busy ones."""
    quiet, busy = poisson_arrivals(5.0, 600, seed=21), poisson_arrivals(400.0, 1500, seed=22)
    middle = poisson_arrivals(120.0, 900, seed=23)
    crowd = sorted([*map(float, range(100)), *[5.0 + 0.001 * n for n in range(12)]])
    each = "the promise holds at every rate, not only at the last or the quietest"
    for what, traffic, max_batch, target, why in (
        ("5 requests a second", [quiet], 16, 0.045, "the longest wait is asked for"),
        ("120 a second", [middle], 16, 0.050, "the p95 counts, not the mean or the slowest"),
        ("5 a second, max_batch = 1", [quiet], 1, 0.045, "pass max_batch on"),
        ("400 and 5 a second", [busy, quiet], 16, 0.045, each),
        ("120 and 5 a second, max_batch = 2", [middle, quiet], 2, 0.050, each),
        ("a crowd of 12", [crowd], 4, 0.032, "a longer wait may help: try them all"),
    ):
        _expect_wait(function, traffic, max_batch, target, what, why)
    # A p95 of exactly the target, exact in binary; one of 20 requests is later.
    arrivals = [*map(float, range(17)), 17.0, 17.0, 17.0]
    arguments = ([arrivals], lambda size: 0.25, 2, [0.0, 0.0625, 0.125, 0.25], 0.375)
    why = "a p95 of exactly the target is good enough, and of 20 requests one may be later"
    expect_result(function, arguments, 0.125, why, "with batches of 0.25 s, a target of 0.375 s")
    _expect_ranks(function)
    arguments = ([quiet, busy], _seconds_of, 4, WAITS, 0.012)
    when = "if no wait keeps the p95 of 400 requests a second below 0.012 s"
    expect_raises(function, ValueError, *arguments, when=when)
    return "it keeps the promise at every rate, and waits as long as that allows."


def _expect_ranks(function: Answer) -> None:
    """Random traffic, with targets between the p95 of one wait and the next."""
    choose = random.Random(24)
    why = "the p95 of each rate is number 0.95 * count, rounded up, of its sorted latencies"
    for round_ in range(25):
        counts = [choose.choice((7, 20, 30, 50, 110)) for _ in range(choose.choice((1, 2, 3)))]
        traffic = [
            poisson_arrivals(choose.choice((10.0, 60.0, 200.0)), count, seed=100 * round_ + count)
            for count in counts
        ]
        p95s = sorted({_worst_p95(traffic, 4, wait) for wait in WAITS})
        target = choose.choice([(a + b) / 2 for a, b in zip(p95s, p95s[1:], strict=False)])
        what = f"{' and '.join(map(str, counts))} random requests, max_batch = 4"
        _expect_wait(function, traffic, 4, target, what, why)


def _worst_p95(traffic: Sequence[Sequence[float]], max_batch: int, wait: float) -> float:
    return max(play(arrivals, _seconds_of, max_batch, wait).p95 for arrivals in traffic)


def _expect_wait(
    function: Answer,
    traffic: list[list[float]],
    max_batch: int,
    target: float,
    what: str,
    why: str,
) -> None:
    wanted = max(wait for wait in WAITS if _worst_p95(traffic, max_batch, wait) <= target)
    for order, waits in (("", WAITS), (", the waits from high to low", WAITS[::-1])):
        given = f"with {what}, a target of {target:g} s{order}"
        expect_result(
            function, (traffic, _seconds_of, max_batch, waits, target), wanted, why, given
        )
