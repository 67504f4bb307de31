"""Checks of notebook 04: an honest clock, a busy device, the wait in a gap, a batch, a max wait.

No device or model runs, and but for the trace no clock: time is a number that stand-ins move, so a
check takes moments.
"""

import json
import math
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from lab_utils.lessons import checking
from lab_utils.lessons.checking import (
    Answer,
    attempt,
    check,
    expect,
    expect_raises,
    expect_type,
    fail,
    saying,
)
from lab_utils.service.queueing import poisson_arrivals, simulate_queue

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
    of_five = {
        0.36: "this is the mean, which one disturbed repeat moves; take the median",
        0.15: "this is the fastest; take the median",
        0.30: "this is the median with the warm-up among it; the clock is for what follows it",
        0.90: "take the median of the five repeats: sort them, or see `statistics`",
    }
    older = "start the clock when the device is idle, and right before work()"
    running = "the warm-up is still running when the clock starts: wait for the device first"
    even = "of an even number, the median is the mean of the middle two"
    # What, device, median, and what is known of wrong results.
    cases: list[tuple[str, _Device, float, dict[float, str]]] = [
        ("work that takes 0.3 s each time, without warm-up", _Device([], [0.3] * 5), 0.3, {}),
        (
            "two slow first calls (warm_up=2), then 0.30, 0.20, 0.90, 0.25 and 0.15 s",
            _Device([9.0, 4.0], timed),
            0.25,
            of_five,
        ),
        (
            "a device that still works on something older for 7 s",
            _Device([2.0], [0.3] * 5, busy=7.0),
            0.3,
            {0.3 + LAUNCH: older},
        ),
        (
            "one repeat (repeats=1) after one warm-up call of 2 s",
            _Device([2.0], [0.3], busy=7.0),
            0.3,
            {2.3: running, 9.3: running},
        ),
        (
            "repeats of 0.4 and 0.2 s (repeats=2)",
            _Device([], [0.4, 0.2]),
            0.3,
            dict.fromkeys([0.4, 0.2], even),
        ),
    ]
    for case in cases:
        _expect_seconds(function, *case)
    device = _Device([9.0, 4.0], timed)
    attempt(function, device.work, device.synchronize, clock=device.clock)
    expect(
        device.calls == 7,
        f"without repeats and warm_up given, work was called {device.calls} times, not 2 + 5.",
    )
    return "it waits for the device, leaves the warm-up out, and takes the median."


def _expect_seconds(
    function: Answer,
    what: str,
    device: _Device,
    wanted: float,
    known: dict[float, str],
) -> None:
    warm_up, repeats = device.warm_up, device.repeats
    options = {"repeats": repeats, "warm_up": warm_up, "clock": device.clock}
    result = attempt(function, device.work, device.synchronize, **options)
    result = expect_type(result, (float, int), "median_seconds")
    calls = warm_up + repeats
    expect(
        device.calls == calls,
        f"with warm_up={warm_up} and repeats={repeats}, work was called {device.calls} times, "
        f"not {calls}.",
    )
    expect(device.looks > 0, "median_seconds never called `clock`: take the time from it.")
    if math.isclose(result, wanted, abs_tol=1.5 * LAUNCH):
        return
    why = "the clock runs from an idle device to the device's end, once for each repeat"
    for value, text in known.items():
        if math.isclose(result, value, rel_tol=0.01):
            why = text
    if result < 2 * LAUNCH:
        why = (
            "this is the time for handing the work over; wait for the device before the clock "
            "is stopped"
        )
    fail(f"with {what}, median_seconds returned {result:.3f} s, not {wanted:.3f} s: {why}.")


Interval = tuple[float, float]


@cache
def _operators() -> dict[str, Callable]:
    """Operators of PyTorch that wait: one long call against many short ones, which take longer
    together, and one that calls the short one and does nothing itself."""
    import torch

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
    import torch

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
            f"calls together, and slowest_operator returned {name!r}{of_it}: add up the durations "
            'of all events of the category "cpu_op" by name; they include what was called in turn.'
        )
    return "work ran once under the profiler, and the trace in the file says so."


@check
def gpu_utilization(function: Answer) -> str:
    """The union of kernels, clipped to the window, as a share of it."""
    once = "time in which two run counts once"
    short = "the short one ends early, the long one still runs: remember the latest end so far"
    outside = "what lies outside has no part in it, and none that is negative"
    # What, kernels in the window from 0 to 100, and why.
    cases: list[tuple[str, list[Interval], str]] = [
        ("one kernel in a quarter of the window", [(20, 45)], "a quarter of it is 0.25"),
        ("no kernel at all", [], "nothing ran, so it is 0"),
        ("a kernel that fills the window", [(0, 100)], "all of it is 1"),
        ("two kernels at the same time, on two streams", [(10, 40), (20, 50)], once),
        ("a short kernel within a long one", [(10, 60), (20, 30), (50, 70)], short),
        ("kernels in no order", [(70, 80), (10, 30), (20, 40)], "a trace need not be sorted"),
        ("kernels that touch", [(10, 20), (20, 30)], "where one ends another may begin"),
        ("kernels over both ends", [(-50, 20), (90, 130)], "clip each kernel to the window first"),
        ("kernels before and after the window", [(-30, -10), (40, 50), (120, 150)], outside),
        ("times that are not whole", [(10.25, 20.5), (20.25, 30.75)], "they need not be whole"),
    ]
    length = "the share is of the window's length, not of its end"
    _expect_share(function, "a window from 500 to 600", [(510, 530)], length, 500, 600)
    for case in cases:
        _expect_share(function, *case)
    choose = random.Random(4)
    for round_ in range(20):
        starts = [choose.randrange(-100, 1100) for _ in range(choose.randrange(1, 40))]
        kernels = [(float(start), float(start + choose.randrange(1, 120))) for start in starts]
        what = f"{len(kernels)} random kernels (round {round_ + 1})"
        why = "time in which several run counts once, and what is outside not at all"
        _expect_share(function, what, kernels, why, 0, 1000)
    return "overlaps count once, and only what lies in the window."


def _expect_share(
    function: Answer,
    what: str,
    kernels: list[Interval],
    why: str,
    start: int = 0,
    end: int = 100,
) -> None:
    # Each quarter of a unit in which one runs.
    moments = {n for begin, stop in kernels for n in range(round(4 * begin), round(4 * stop))}
    wanted = len(moments & set(range(4 * start, 4 * end))) / (4 * (end - start))
    with saying(f"with {what}"):
        result = attempt(function, list(kernels), start, end)
        result = expect_type(result, (float, int), "gpu_utilization")
    if math.isclose(result, wanted, abs_tol=1e-9):
        return
    if math.isclose(result, 100 * wanted, abs_tol=1e-6):
        why = "return a share between 0 and 1, not percent"
    fail(f"with {what}, gpu_utilization is {result:.3f}, not {wanted:.3f}: {why}.")


Operator = tuple[str, float, float]


@check
def waiting_operator(function: Answer) -> str:
    """The operator with most time in the longest gap of the device."""
    kernels = [(100.0, 120.0), (125.0, 140.0), (240.0, 260.0), (262.0, 280.0)]
    inside = [("aten::nonzero", 140.0, 165.0), ("aten::argmin", 165.0, 230.0)]
    around = [("aten::conv2d", 90.0, 100.0), ("aten::relu", 230.0, 240.0)]
    pieces = [("aten::argmin", 140.0 + 4 * n, 144.0 + 4 * n) for n in range(12)]
    late = [("aten::relu", 240.0 + n, 241.0 + n) for n in range(200)]
    late += [("aten::argmin", 0.0, 5.0)]
    over = [("aten::copy_", 20.0, 165.0), ("aten::sort", 165.0, 210.0), ("aten::mm", 210.0, 500.0)]
    before = [("aten::copy_", 100.0, 195.0), ("aten::sort", 195.0, 215.0), ("aten::mm", 215.0, 500)]
    behind = [("aten::copy_", 0.0, 165.0), ("aten::sort", 165.0, 185.0), ("aten::mm", 185.0, 250.0)]
    beside = [(0.0, 200.0), (20.0, 30.0), (260.0, 300.0), (210.0, 220.0)]
    long = [("aten::mm", 30.0, 190.0), ("aten::sort", 200.0, 209.0), ("aten::item", 221.0, 259.0)]
    few = [(500.0, 510.0), (540.0, 550.0), (552.0, 560.0)]
    outer = [("aten::to", 0.0, 480.0), ("aten::item", 511.0, 539.0), ("aten::cat", 560.0, 990.0)]
    several = [(0.0, 10.0), (60.0, 70.0), (90.0, 100.0), (120.0, 130.0), (150.0, 160.0)]
    copies = [("aten::copy_", start, start + 20.0) for start in (70.0, 100.0, 130.0)]
    copies += [("aten::nonzero", 12.0, 45.0), ("aten::copy_", 45.0, 60.0)]
    latest = "behind the short one the long one still runs; remember the latest end so far"
    # What, kernels and operators, the right one, and why.
    cases: list[tuple[str, tuple[list[Interval], list[Operator]], str, str]] = [
        (
            "a gap of 100 µs in which aten::argmin runs for 65",
            (kernels, around + inside),
            "aten::argmin",
            "look for the operator that runs longest in the gap",
        ),
        (
            "kernels and operators in no order",
            (kernels[::-1], around + inside[::-1]),
            "aten::argmin",
            "sort the kernels before you look for gaps",
        ),
        (
            "a gap with aten::sort once for 30 µs and aten::argmin twelve times for 4",
            (kernels, [*around, *pieces, ("aten::sort", 190.0, 220.0)]),
            "aten::argmin",
            "add up all calls of an operator",
        ),
        (
            "operators that begin before the gap or end after it (25, 45 and 30 µs lie in it)",
            (kernels, over),
            "aten::sort",
            "count only the part of a call that lies in the gap",
        ),
        (
            "an operator that begins before the gap (55 µs of it, then 20 and 25 lie in it)",
            (kernels, before),
            "aten::copy_",
            "count the part of a call that lies in the gap, wherever the call begins",
        ),
        (
            "an operator that ends after the gap (25, 20 and 55 µs lie in it)",
            (kernels, behind),
            "aten::mm",
            "count the part of a call that lies in the gap, wherever the call ends",
        ),
        ("a short kernel that runs beside a long one", (beside, long), "aten::item", latest),
        (
            "long operators before the first kernel and after the last one",
            (few, outer),
            "aten::item",
            "only a stretch between two kernels is a gap",
        ),
        (
            "a gap of 50 µs and three of 20",
            (several, copies),
            "aten::nonzero",
            "only the longest gap counts, not all gaps together",
        ),
        (
            "200 calls of aten::relu behind the gap, and one of aten::argmin long before it",
            (kernels, inside + late),
            "aten::argmin",
            "a call that has no part in the gap counts 0",
        ),
    ]
    for what, (given, operators), wanted, why in cases:
        with saying(f"with {what}"):
            result = attempt(function, list(given), list(operators))
            result = expect_type(result, str, "waiting_operator")
        expect(
            result == wanted,
            f"with {what}, waiting_operator returned {result!r}, not {wanted!r}: {why}.",
        )
    return "it names what the device waits for in its longest gap."


Curve = dict[int, tuple[float, float]]


@check
def best_batch_size(function: Answer) -> str:
    """The smallest size that comes close to the most pages a second, among those in time."""
    curve: Curve = {1: (0.10, 0.12), 2: (0.11, 0.13), 4: (0.14, 0.17), 8: (0.20, 0.25)}
    curve |= {16: (0.385, 0.42), 32: (0.80, 0.90)}
    linear: Curve = {size: (0.2 * size * 0.995**size, 0.22 * size) for size in (1, 2, 4, 8)}
    two: Curve = {1: (0.10, 0.10), 2: (0.186, 0.20)}
    # Curve and target in s, the right size, why, and the tolerance if it is given.
    cases: list[tuple[tuple[Curve, float], int, str, float | None]] = [
        (
            (curve, 10.0),
            16,
            "with all sizes allowed, 16 pages in 0.385 s are the most pages a second",
            0.0,
        ),
        ((curve, 10.0), 8, "8 pages reach 96 % of what 16 do, and wait half as long", None),
        (
            (curve, 0.19),
            4,
            "8 and more pages miss the target, and 4 have the most pages a second of the rest",
            None,
        ),
        (
            (curve, 0.22),
            4,
            "a batch of 8 takes 0.20 s at p50 and 0.25 s at p95, and p95 is what was promised",
            None,
        ),
        ((curve, 0.25), 8, "a p95 of just the target meets it", None),
        (
            (curve, 0.17),
            4,
            "the tolerance is of the best size that meets the target, not of the best of all",
            None,
        ),
        ((curve, 10.0), 4, "4 pages reach 69 % of the most", 0.35),
        ((linear, 10.0), 1, "a batch of 8 gains less than 5 %, so one page is enough", None),
        ((two, 10.0), 2, "one page reaches 93 % of what 2 do, which is less", None),
    ]
    for (given, target), wanted, why, tolerance in cases:
        _expect_size(function, given, target, wanted, why, tolerance)
    expect_raises(function, ValueError, dict(curve), 0.05, when="where no size meets 0.05 s")
    return "it meets the target, and waits for no more pages than pay."


def _expect_size(
    function: Answer, curve: Curve, target: float, wanted: int, why: str, tolerance: float | None
) -> None:
    more = {} if tolerance is None else {"tolerance": tolerance}
    settings = f"a target of {target:g} s" + ("" if tolerance is None else f" and {tolerance=}")
    for order, table in enumerate([dict(curve), dict(sorted(curve.items(), reverse=True))]):
        note = " (The sizes come in any order, here from high to low.)" if order else ""
        with saying(f"with {settings}", note):
            result = expect_type(attempt(function, table, target, **more), int, "best_batch_size")
        expect(
            result == wanted,
            f"with {settings}, best_batch_size returned {result}, not {wanted}: {why}.{note}",
        )


WAITS = [0.0, 0.01, 0.02, 0.03, 0.05, 0.08]


def _device(size: int) -> float:
    """s of a batch on the stand-in: a fixed part, and one for each page."""
    return 0.010 + 0.001 * size


@check
def longest_wait(function: Answer) -> str:
    """The longest wait that keeps the promise at every rate: the quiet ones, and the busy ones."""
    quiet, busy = poisson_arrivals(5.0, 600, seed=21), poisson_arrivals(400.0, 1500, seed=22)
    middle = poisson_arrivals(120.0, 900, seed=23)
    crowd = sorted([*map(float, range(100)), *[5.0 + 0.001 * n for n in range(12)]])
    whole = "a latency runs from arrival to answer, and the longest wait is asked for"
    # What, traffic and max_batch, target in s, and why.
    cases: list[tuple[str, tuple[list[list[float]], int], float, str]] = [
        ("5 requests a second", ([quiet], 16), 0.045, whole),
        (
            "120 requests a second",
            ([middle], 16),
            0.050,
            "the p95 counts, not the mean, and not the slowest of all",
        ),
        (
            "5 requests a second and max_batch = 1",
            ([quiet], 1),
            0.045,
            "hand max_batch on; a batch of one is full at once, so that no wait matters",
        ),
        (
            "400 and 5 requests a second",
            ([busy, quiet], 16),
            0.045,
            "the promise holds at every rate, not only at the last or the quietest",
        ),
        (
            "120 and 5 requests a second and max_batch = 2",
            ([middle, quiet], 2),
            0.050,
            "the promise holds at every rate, and in quiet hours no batch fills before its wait "
            "ends",
        ),
        (
            "one request a second and once a crowd of 12, max_batch = 4",
            ([crowd], 4),
            0.032,
            "a longer wait may help where a shorter one misses, so try them all",
        ),
    ]
    for what, (traffic, max_batch), target, why in cases:
        _expect_wait(function, traffic, max_batch, target, what, why)
    _expect_exact(function)
    _expect_ranks(function)
    expect_raises(
        function,
        ValueError,
        [list(quiet), list(busy)],
        _device,
        4,
        list(WAITS),
        0.012,
        when="where no wait keeps the p95 of 400 requests a second below 0.012 s",
    )
    return "it keeps the promise at every rate, and waits as long as that allows."


def _expect_exact(function: Answer) -> None:
    """A p95 of just the target is good enough, and one of 20 may be later; exact in binary."""
    arrivals = [*map(float, range(17)), 17.0, 17.0, 17.0]
    waits = [0.0, 0.0625, 0.125, 0.25]
    said = "with 17 requests a second apart, then three at once, max_batch = 2, batches of 0.25 s"
    with saying(said):
        result = attempt(function, [arrivals], lambda size: 0.25, 2, list(waits), 0.375)
    result = expect_type(result, (float, int), "longest_wait")
    expect(
        result == 0.125,
        f"{said} and a target of 0.375 s, longest_wait returned {result!r}, not 0.125: a p95 of "
        "just the target is good enough, and of 20 requests one may be later.",
    )


def _expect_ranks(function: Answer) -> None:
    """Random traffic, with targets between the p95 of one wait and the next."""
    choose = random.Random(24)
    for round_ in range(25):
        counts = [choose.choice((7, 20, 30, 50, 110)) for _ in range(choose.choice((1, 2, 3)))]
        traffic = [
            poisson_arrivals(choose.choice((10.0, 60.0, 200.0)), count, seed=100 * round_ + count)
            for count in counts
        ]
        p95s = sorted({max(_p95(one, 4, wait) for one in traffic) for wait in WAITS})
        target = choose.choice([(a + b) / 2 for a, b in zip(p95s, p95s[1:], strict=False)])
        _expect_wait(
            function,
            traffic,
            4,
            target,
            f"{' and '.join(map(str, counts))} random requests, max_batch = 4",
            "the p95 of each rate counts on its own; its rank is 0.95 * count, rounded up, "
            "counted from 1",
        )


def _p95(arrivals: list[float], max_batch: int, wait: float) -> float:
    answered = simulate_queue(arrivals, _device, max_batch, wait)
    latencies = sorted(end - start for start, end in zip(arrivals, answered, strict=True))
    return latencies[-(-95 * len(latencies) // 100) - 1]


def _expect_wait(
    function: Answer,
    traffic: list[list[float]],
    max_batch: int,
    target: float,
    what: str,
    why: str,
) -> None:
    table = {wait: max(_p95(one, max_batch, wait) for one in traffic) for wait in WAITS}
    wanted = max(wait for wait, p95 in table.items() if p95 <= target)
    for order, waits in enumerate([WAITS, WAITS[::-1]]):
        note = " (The waits come in any order, here from high to low.)" if order else ""
        setting = f"{what}, a target of {target:g} s"
        with saying(f"with {setting}", note):
            result = attempt(
                function, [list(one) for one in traffic], _device, max_batch, list(waits), target
            )
            result = expect_type(result, (float, int), "longest_wait")
        expect(
            result in WAITS,
            f"with {setting}, longest_wait returned {result!r}, which is none of the waits.{note}",
        )
        expect(
            result == wanted,
            f"with {setting}, longest_wait returned {result:g}, whose p95 is {table[result]:.4f} "
            f"s; with {wanted:g} it is {table[wanted]:.4f} s{': ' + why if why else ''}.{note}",
        )
