"""Wrong answers to the exercises of notebook 04, and what the checks say to them."""

SECONDS = """
import statistics
import time

def median_seconds(work, synchronize, repeats=5, warm_up=2, clock=time.perf_counter):
    for _ in range({warm_up}):
        work()
    seconds = []
    for _ in range({repeats}):
        {before}
        start = clock()
        work()
        {after}
        seconds.append(clock() - start)
    return {result}
"""
RIGHT_SECONDS = {
    "warm_up": "warm_up",
    "repeats": "repeats",
    "before": "synchronize()",
    "after": "synchronize()",
    "result": "statistics.median(seconds)",
}

TOGETHER = """
import time

def median_seconds(work, synchronize, repeats=5, warm_up=2, clock=time.perf_counter):
    for _ in range(warm_up):
        work()
    synchronize()
    start = clock()
    for _ in range(repeats):
        work()
    synchronize()
    return (clock() - start) / repeats
"""

UTILIZATION = """
def gpu_utilization(kernels, start, end):
    busy, latest = 0.0, start
    for begin, stop in {order}:
        begin, stop = {clip}
        busy += {part}
        latest = {latest}
    return {result}
"""
RIGHT_UTILIZATION = {
    "order": "sorted(kernels)",
    "clip": "max(begin, latest), min(stop, end)",
    "part": "max(stop - begin, 0.0)",
    "latest": "max(latest, stop)",
    "result": "busy / (end - start)",
}

WAITING = """
from collections import Counter

def waiting_operator(kernels, operators):
    ordered = {order}
    gap, latest = (0.0, 0.0), {first}
    for begin, stop in ordered:
        if begin - latest > gap[1] - gap[0]{stopping}:
            gap = (latest, begin)
        latest = {latest}
    seconds = Counter()
    for name, begin, stop in operators:
        seconds[name] {add} {overlap}
    return {result}
"""
RIGHT_WAITING = {
    "order": "sorted(kernels)",
    "first": "ordered[0][1]",
    "stopping": "",
    "latest": "max(latest, stop)",
    "add": "+=",
    "overlap": "max(0.0, min(stop, gap[1]) - max(begin, gap[0]))",
    "result": "max(seconds, key=seconds.get)",
}

BEST = """
def best_batch_size(curve, target, tolerance=0.05):
    allowed = {{n: {rate} for n, (p50, p95) in curve.items() if {allowed}}}
    {none}
    enough = (1 - tolerance) * max({pool})
    return {result}
"""
RIGHT_BEST = {
    "rate": "n / p50",
    "allowed": "p95 <= target",
    "none": "if not allowed: raise ValueError('none')",
    "pool": "allowed.values()",
    "result": "min(n for n, rate in allowed.items() if rate >= enough)",
}

WAIT = """
import math
from lab_utils.service.queueing import simulate_queue

def longest_wait(traffic, seconds_of, max_batch, waits, target):
    def p95(arrivals, wait):
        answered = simulate_queue(arrivals, seconds_of, {settings})
        latencies = sorted({latency} for start, end in zip(arrivals, answered))
        return {percentile}
    good = [wait for wait in {waits} if {promise}]
    {none}
    return {result}
"""
RIGHT_WAIT = {
    "settings": "max_batch, wait",
    "latency": "end - start",
    "percentile": "latencies[math.ceil(0.95 * len(latencies)) - 1]",
    "waits": "waits",
    "promise": "all(p95(arrivals, wait) <= target for arrivals in traffic)",
    "none": "if not good: raise ValueError('none')",
    "result": "max(good)",
}


def seconds(**changed: str) -> str:
    return SECONDS.format(**RIGHT_SECONDS | changed)


def utilization(**changed: str) -> str:
    return UTILIZATION.format(**RIGHT_UTILIZATION | changed)


def waiting(**changed: str) -> str:
    return WAITING.format(**RIGHT_WAITING | changed)


def best(**changed: str) -> str:
    return BEST.format(**RIGHT_BEST | changed)


def wait(**changed: str) -> str:
    return WAIT.format(**RIGHT_WAIT | changed)


SLOWEST = """
import json
import torch

def slowest_operator(work, path):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        {inside}
    {export}
    events = json.loads(path.read_text())["traceEvents"]
    {answer}
"""
EXPORT = "profiler.export_chrome_trace(str(path))"
LONGEST = """calls = [one for one in events if one.get("cat") == "cpu_op"]
    return max(calls, key=lambda one: one["dur"])["name"]"""
ALL_KINDS = """total = {}
    for one in events:
        total[one["name"]] = total.get(one["name"], 0) + one.get("dur", 0)
    return max(total, key=total.get)"""

WRONG_ANSWERS: dict[str, list[tuple[str, str]]] = {
    "median_seconds": [
        (seconds(after="pass"), "the time for handing the work over"),
        (seconds(before="pass"), "wait for the device first|start the clock when the device"),
        (seconds(result="min(seconds)"), "this is the fastest; take the median"),
        (seconds(result="seconds[len(seconds) // 2]"), "take the median of the five repeats"),
        (seconds(result="sorted(seconds)[len(seconds) // 2]"), "the mean of the middle two"),
        (seconds(warm_up="0", repeats="warm_up + repeats"), "with the warm-up among it"),
        (seconds(repeats="repeats + 1"), "called work more than 5 times"),
        (TOGETHER, "this is the mean"),
        (
            seconds().replace("clock()", "time.perf_counter()"),
            "never called `clock`",
        ),
    ],
    "gpu_utilization": [
        (utilization(clip="begin, stop", part="stop - begin"), "time in which two run counts once"),
        (utilization(latest="stop"), "remember the latest end so far"),
        (utilization(order="kernels"), "a trace need not be sorted"),
        (
            utilization(clip="max(begin, latest), stop"),
            "clip each kernel to the window first",
        ),
        (utilization(result="busy / end"), "of the window's length, not of its end"),
        (utilization(result="100 * busy / (end - start)"), "between 0 and 1, not percent"),
        (
            utilization(order="[kernels[0], *sorted(kernels)]"),
            "with no kernel at all, gpu_utilization stopped with IndexError",
        ),
    ],
    "waiting_operator": [
        (waiting(order="kernels"), "sort the kernels before you look for gaps"),
        (waiting(latest="stop"), "remember the latest end so far"),
        (waiting(add="="), "add up all calls"),
        (waiting(overlap="(stop - begin) * (stop > gap[0] and begin < gap[1])"), "only the part"),
        (waiting(first="0.0"), "only a stretch between two kernels|longest in the gap"),
        (waiting(stopping=" and not gap[1]"), "look for the operator that runs longest in the gap"),
        (waiting(result="gap"), "waiting_operator returned a tuple, not str"),
    ],
    "slowest_operator": [
        (
            SLOWEST.format(inside="work()", export=EXPORT, answer=LONGEST),
            "add up the durations",
        ),
        (
            SLOWEST.format(inside="work()", export=EXPORT, answer=ALL_KINDS),
            "of the category .cpu_op. by name",
        ),
        (
            """
import torch

def slowest_operator(work, path):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    averages = profiler.key_averages()
    return max(averages, key=lambda one: one.cpu_time_total).key
""",
            "there is no file at `path`",
        ),
        (
            """
import torch

def slowest_operator(work, path):
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(2).add(1)
    profiler.export_chrome_trace(str(path))
    return "aten::add"
""",
            "does not have all operators that work calls",
        ),
    ],
    "best_batch_size": [
        (best(result="max(allowed, key=allowed.get)"), "reach 96 % of what 16 do"),
        (best(rate="1 / p50"), "the most pages a second"),
        (best(allowed="p50 <= target"), "p95 is what was promised"),
        (best(allowed="p95 < target"), "just the target"),
        (
            best(
                pool="n / p50 for n, (p50, _) in curve.items()",
                result="min((n for n, r in allowed.items() if r >= enough), default=1)",
            ),
            "of the rest|of the best size that meets",
        ),
        (
            best(result="next(n for n, rate in allowed.items() if rate >= enough)"),
            "The sizes come in any order",
        ),
        (best(none="if not allowed: return 1"), "returned 1; raise ValueError"),
        (
            best().replace("(1 - tolerance)", "0.95"),
            "tolerance=0",
        ),
    ],
    "longest_wait": [
        (wait(percentile="sum(latencies) / len(latencies)"), "not the mean"),
        (wait(percentile="latencies[-1]"), "not the slowest of all"),
        (wait(settings="max_batch"), "longest_wait returned 0.08"),
        (wait(settings="16, wait"), "hand max_batch on"),
        (wait(promise="p95(traffic[0], wait) <= target"), "holds at every rate"),
        (wait(result="min(good)"), "the longest wait is asked for"),
        (wait(result="good[-1]"), "The waits come in any order"),
        (
            wait(
                waits="__import__('itertools').takewhile(lambda w: p95(traffic[0], w) <= target, "
                "sorted(waits))"
            ),
            "a longer wait may help|stopped with ValueError",
        ),
        (wait(none="if not good: return 0.0"), "raise ValueError"),
    ],
}

WRONG_ANSWERS["waiting_operator"].append(
    (
        """
from collections import Counter

def waiting_operator(kernels, operators):
    ordered, gaps, latest = sorted(kernels), [], min(kernels)[1]
    for begin, stop in ordered:
        if begin > latest:
            gaps.append((latest, begin))
        latest = max(latest, stop)
    seconds = Counter()
    for name, begin, stop in operators:
        for left, right in gaps:
            seconds[name] += max(0.0, min(stop, right) - max(begin, left))
    return max(seconds, key=seconds.get)
""",
        "only the longest gap counts",
    )
)
WRONG_ANSWERS["longest_wait"] += [
    (
        wait(percentile="latencies[int(0.95 * len(latencies)) - 1]"),
        "whose p95 is",
    ),
    (
        wait(promise="all(p95(arrivals, wait) < target for arrivals in traffic)"),
        "a p95 of just the target is good enough",
    ),
]
